"""ManifestGateway: a gateway that serves Kubernetes manifests, started by a shell script as its user would write it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

from tests.e2e.harness import Gateway

GUIDE = Path(__file__).parents[1] / "golden" / "guides" / "kubernetes.txt"
TORANA = f"{shlex.quote(sys.executable)} -m torana"

GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: agentgateway
  namespace: gloo-system
spec:
  gatewayClassName: agentgateway
  listeners:
  - name: http
    port: $GATEWAY_PORT
    protocol: HTTP
"""


class Guide(NamedTuple):
    """kgateway's guide to OpenAI-compatible providers on Kubernetes.

    `documents` are those between `<<EOF` and `EOF`, `answers` the sample answers of its two providers.
    """

    documents: list[str]
    answers: list[str]


def guide() -> Guide:
    text = GUIDE.read_text()
    documents = re.findall(r"kubectl apply -f- <<EOF\n(.*?)\n    EOF", text, re.DOTALL)
    answers = re.findall(r"Example output:\n\n {6}(\{\n.*?\n {4}\})\n", text, re.DOTALL)
    return Guide([textwrap.dedent(document) for document in documents], [textwrap.dedent("    " + a) for a in answers])


def heredocs(documents: list[str]) -> str:
    """A shell command that prints the documents, each as the guide has it: the shell fills in the variables."""
    pieces = (f"cat <<EOF\n{document.strip()}\nEOF" for document in documents)
    return "{\n" + "\necho ---\n".join(pieces) + "\n}"


class ManifestGateway(Gateway):
    """Its text is a shell script, which finds `$GATEWAY_PORT` and the folder of its own in its environment."""

    def configure(self, text: str) -> str:
        return text

    def signal(self, number: signal.Signals) -> None:
        """To the gateway and to the shell it is a child of."""
        os.killpg(self.process.pid, number)

    def _start(self) -> None:
        addresses = {"ADMIN_ADDR": self.admin, "STATS_ADDR": self.stats, "READINESS_ADDR": self.readiness}
        words = " ".join(shlex.quote(word) for word in self._arguments)
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", f"{self.file.read_text()} {words}"],
                env={**self._env, **addresses, "GATEWAY_PORT": str(self.port)},
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
