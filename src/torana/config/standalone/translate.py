"""From the schema's records to the model's Config, with the faults that only the meaning of the file shows."""

from __future__ import annotations

from collections.abc import Mapping

from torana.config.standalone.backends import Backends
from torana.config.standalone.files import Files
from torana.config.standalone.ports import binds
from torana.config.standalone.schema.file import File
from torana.config.standalone.schema.process import Process
from torana.config.standalone.settings import limits, settings
from torana.config.yaml.findings import Findings
from torana.model.config import Config, Limits


def translate(file: File, env: Mapping[str, str], cpus: int, findings: Findings, files: Files) -> Config:
    """What it gives is of use only when the findings have not failed. `cpus`: see `settings`."""
    backends = Backends(file.backends, findings, files)
    http = file.frontend_policies.http if file.frontend_policies else None
    return Config(
        binds=binds(file, backends, findings, files),
        limits=limits(http) if http is not None else Limits(),
        settings=settings(file.config or Process(), env, cpus, findings),
    )
