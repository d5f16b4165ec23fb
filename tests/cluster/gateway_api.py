"""The schemas of the Gateway API that file mode checks by, cut from the CRDs of the release that the tests install.

`python -m tests.cluster.gateway_api` writes them anew, after another release was named in `tests/cluster/build.py`.
Descriptions are left out, and so is status. The standard channel, with what Torana reads of the experimental one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.build import tools

WRITTEN = Path(__file__).parents[2] / "src" / "torana" / "config" / "kubernetes" / "crds" / "gateway-api.json"
PLURALS = ("gatewayclasses", "gateways", "httproutes", "referencegrants", "backendtlspolicies")
RELEASE = "gateway.networking.k8s.io/bundle-version"
HTTP_ROUTES = "gateway.networking.k8s.io_httproutes.yaml"
EXPERIMENTAL = ("retry", "sessionPersistence")
"""Of an HTTPRoute's rules."""


def cut(folder: Path) -> str:
    """`folder` holds the CRDs of the standard channel; beside it are those of the experimental one."""
    kinds: dict[str, Any] = {}
    releases = set()
    for plural in PLURALS:
        crd = yaml.safe_load((folder / f"gateway.networking.k8s.io_{plural}.yaml").read_text())
        releases.add(crd["metadata"]["annotations"][RELEASE])
        kinds[crd["spec"]["names"]["kind"]] = {
            "scope": crd["spec"]["scope"],
            "versions": [version["name"] for version in crd["spec"]["versions"]],
            "schema": _schema(crd["spec"]["versions"]),
        }
    rules = _rules(kinds["HTTPRoute"]["schema"])
    experimental = yaml.safe_load((folder.parent / "experimental" / HTTP_ROUTES).read_text())
    more = _rules(_bare(experimental["spec"]["versions"][0]["schema"]["openAPIV3Schema"]))
    rules.update({name: more[name] for name in EXPERIMENTAL})
    (release,) = releases
    return json.dumps({"release": release, "kinds": kinds}, indent=1) + "\n"


def _rules(schema: Any) -> Any:
    return schema["properties"]["spec"]["properties"]["rules"]["items"]["properties"]


def _schema(versions: list[dict[str, Any]]) -> Any:
    """That of all the versions, which differ in descriptions only."""
    schemas = [_bare(version["schema"]["openAPIV3Schema"]) for version in versions]
    for schema in schemas:
        schema["properties"].pop("status", None)
    assert all(schema == schemas[0] for schema in schemas), "the versions have schemas of their own"
    return schemas[0]


def _bare(schema: Any) -> Any:
    match schema:
        case dict():
            return {name: _bare(part) for name, part in schema.items() if not _describes(name, part)}
        case list():
            return [_bare(part) for part in schema]
        case _:
            return schema


def _describes(name: str, part: Any) -> bool:
    return name == "description" and isinstance(part, str)


if __name__ == "__main__":
    WRITTEN.write_text(cut(tools().gateway_crds))
