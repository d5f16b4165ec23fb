"""Bed: a real kube-apiserver over a real etcd on free ports of this machine, and kubectl to work on it.

There is no kubelet and no scheduler, for nothing is to run in this cluster; Secrets, CRDs with their rules, status
subresources, watches, conflicts and RBAC are all the real ones.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trustme

from tests.cluster.build import Tools
from tests.cluster.waits import PATIENCE, until
from tests.ports import free_port

_START_SECONDS = 120.0
_TAIL = 6000  # characters of a log in the message of a failure
ADMIN = "admin-token"
ACCOUNT = "account-token"
"""Of the service account that the install manifests make."""
_ACCOUNT_NAME = "system:serviceaccount:torana-system:torana"
LESSER, LESSER_USER = "lesser-token", "lesser"
"""Of a user with no rights but those that a test gives."""


class Bed:
    """Starts when it is made. `kubeconfig` is the admin's; `kubeconfig_for` writes those of lesser users."""

    def __init__(self, tools: Tools, folder: Path) -> None:
        self.tools = tools
        self.folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._etcd_port, self._peer_port, self.port = free_port(), free_port(), free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        ca = trustme.CA()
        ca.cert_pem.write_to_path(str(folder / "ca.pem"))
        certificate = ca.issue_cert("127.0.0.1", "localhost")
        certificate.private_key_pem.write_to_path(str(folder / "server.key"))
        certificate.cert_chain_pems[0].write_to_path(str(folder / "server.pem"))
        users = (
            f"{ADMIN},admin,1,system:masters",
            "torana-token,torana,2,",
            f"{ACCOUNT},{_ACCOUNT_NAME},3,",
            f"{LESSER},{LESSER_USER},4,",
        )
        (folder / "tokens.csv").write_text("".join(f"{user}\n" for user in users))
        self.kubeconfig = self.kubeconfig_for("admin", ADMIN)
        self._context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        self._start_etcd()
        self.start_server()

    # the processes

    def start_server(self) -> None:
        """Start kube-apiserver and wait until it is ready."""
        key, certificate = str(self.folder / "server.key"), str(self.folder / "server.pem")
        self._start(
            "server",
            str(self.tools.server),
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--cert-dir={self.folder / 'certificates'}",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--endpoint-reconciler-type=none",
        )
        try:
            until(self._server_is_ready, "kube-apiserver to be ready", _START_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._log('server')}\n{self._log('etcd')}") from error

    @contextmanager
    def without_server(self) -> Iterator[None]:
        """Within it the server is gone, as by a crash, with all its connections; then it is back, whatever failed."""
        self._kill("server")
        try:
            yield
        finally:
            self.start_server()

    def revive(self) -> None:
        """What has ended is started again, so that one failure is not that of all tests after it."""
        told = self._ended()
        if not told:
            return
        print(f"{told}\nand was started again")  # noqa: T201 - pytest shows it when the test has failed
        self._kill("server")
        if not self._runs("etcd"):
            self._start_etcd()
        self.start_server()

    def stop(self) -> None:
        for name in ("server", "etcd"):
            self._kill(name)

    def _kill(self, name: str) -> None:
        process = self._processes.pop(name, None)
        if process is not None:
            process.kill()
            process.wait()

    def _ended(self) -> str:
        """What of the cluster runs no more, with its last words; empty when all is well."""
        return "\n".join(f"{name} has ended: {self._log(name)}" for name in ("etcd", "server") if not self._runs(name))

    def _runs(self, name: str) -> bool:
        return name in self._processes and self._processes[name].poll() is None

    def _log(self, name: str) -> str:
        text = (self.folder / f"{name}.log").read_text(errors="backslashreplace")
        return f"the end of the log of {name}:\n{text[-_TAIL:]}"

    def _start_etcd(self) -> None:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self._etcd_port, self._peer_port))
        self._start(
            "etcd",
            str(self.tools.etcd),
            f"--data-dir={self.folder / 'etcd'}",
            "--unsafe-no-fsync",  # what is lost with the machine is of no use to anybody
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        )

    def _start(self, name: str, *words: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(words, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT)

    def _server_is_ready(self) -> bool:
        status = self._processes["server"].poll()
        assert status is None, f"kube-apiserver ended with status {status}"
        try:
            return self.get("/readyz") == b"ok"
        except OSError:
            return False

    # what tests do with it

    def get(self, path: str) -> bytes:
        """A GET as the admin. Raises OSError (HTTPError is one)."""
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {ADMIN}"})
        with urllib.request.urlopen(request, context=self._context, timeout=10) as answer:
            body: bytes = answer.read()
        return body

    def kubectl(self, *words: str, stdin: str = "") -> str:
        """What it printed. Raises AssertionError with its complaint."""
        return self._printed([str(self.tools.kubectl), *words], self.environment, stdin)

    def shell(self, script: str, **variables: str) -> str:
        """What a user types, heredocs and all: `kubectl` is on the path and knows the cluster."""
        return self._printed(["bash", "-euo", "pipefail", "-c", script], self.environment | variables)

    def wait_for(self, condition: str, thing: str, namespace: str = "default") -> None:
        """`condition` is that of `kubectl wait --for`."""
        self.kubectl("wait", f"--for={condition}", thing, "-n", namespace, f"--timeout={PATIENCE:g}s")

    def _printed(self, words: list[str], environment: dict[str, str], stdin: str = "") -> str:
        done = subprocess.run(
            words, input=stdin, env=environment, capture_output=True, text=True, timeout=180, check=False
        )
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}{self._ended()}"
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.tools.kubectl.parent}:{os.environ['PATH']}"
        return {"PATH": path, "HOME": str(self.folder), "KUBECONFIG": str(self.kubeconfig)}

    def apply(self, manifests: str) -> None:
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifests)

    def delete_namespace(self, name: str) -> None:
        """At once: the controller that would finish it does not run here."""
        if not self.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found"):
            return
        document = self.read("namespace", name) | {"spec": {"finalizers": []}}
        self.kubectl("replace", "--raw", f"/api/v1/namespaces/{name}/finalize", "-f", "-", stdin=json.dumps(document))

    def read(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
        where = ("-n", namespace) if namespace else ()
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, *where, "-o", "json"))
        return found

    def install(self, *manifests: Path) -> None:
        """CRDs, and wait until they are served."""
        files = [word for path in manifests for word in ("-f", str(path))]
        self.kubectl("apply", "--server-side", *files)
        self.until_discovered()

    def until_discovered(self) -> None:
        """Wait until kubectl knows the kinds of all CRDs, which is a moment after they are established."""
        self.kubectl("wait", "--for=condition=Established", "crd", "--all", f"--timeout={PATIENCE:g}s")
        names = set(self.kubectl("get", "crd", "-o", "jsonpath={.items[*].metadata.name}").split())
        until(lambda: names <= set(self.kubectl("api-resources", "-o", "name").split()), "the discovery of CRDs")

    def kubeconfig_for(self, user: str, token: str) -> Path:
        """The way into the cluster for `user`."""
        file = self.folder / f"{user}.kubeconfig"
        cluster = {"server": self.url, "certificate-authority": str(self.folder / "ca.pem")}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "bed", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "bed", "context": {"cluster": "bed", "user": user}}],
            "current-context": "bed",
        }
        file.write_text(json.dumps(document))
        return file
