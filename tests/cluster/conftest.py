"""What the tests on a real cluster API share. They run only when asked for, by `make cluster-test`."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest
import trustme

from tests.cluster.bed import LESSER, LESSER_USER, Bed
from tests.cluster.build import MissingError, tools
from tests.cluster.gateway import ClusterGateway
from tests.cluster.space import CLASS, HOST, Cast, Space
from tests.e2e.stand_in import StandIn
from torana.config.kubernetes.api import Api

CRDS = Path(__file__).parents[2] / "src" / "torana" / "config" / "kubernetes" / "crds"

if not os.environ.get("TORANA_CLUSTER_TESTS"):
    collect_ignore_glob = ["test_*.py"]

_LONGEST = 300  # seconds for a test; longer than two of its waits


def pytest_itemcollected(item: pytest.Item) -> None:
    """The API server starts within a test, and what is waited for may take a minute."""
    item.add_marker(pytest.mark.timeout(_LONGEST))


class StartGateway(Protocol):
    """Starts a gateway on the cluster; ready or not."""

    def __call__(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        token: str = ...,
        account: Path | None = ...,
    ) -> ClusterGateway: ...


@pytest.fixture(scope="session")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A cluster API with Gateway API's CRDs and ours."""
    try:
        made = tools()
    except MissingError as error:
        pytest.skip(str(error))
    running = Bed(made, tmp_path_factory.mktemp("bed"))
    try:
        running.install(made.gateway_crds, *sorted(CRDS.glob("*.*.yaml")))
        yield running
    finally:
        running.stop()


@pytest.fixture(autouse=True)
def _revived(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that leaves the cluster dead takes none of the others with it."""
    bed: Bed | None = request.getfixturevalue("bed") if "bed" in request.fixturenames else None
    yield
    if bed is not None:
        bed.revive()


_numbers = itertools.count()


@pytest.fixture
def namespace(bed: Bed) -> str:
    """One of the test's own."""
    name = f"test-{next(_numbers)}"
    bed.kubectl("create", "namespace", name)
    return name


@pytest.fixture
async def api(bed: Bed) -> AsyncIterator[Api]:
    """The admin's connection."""
    connection = Api(bed.kubeconfig)
    yield connection
    await connection.close()


@pytest.fixture
async def lesser(bed: Bed) -> AsyncIterator[Api]:
    """The connection of a user without rights."""
    connection = Api(bed.kubeconfig_for(LESSER_USER, LESSER))
    yield connection
    await connection.close()


@pytest.fixture
def gateway(bed: Bed, tmp_path: Path) -> Iterator[StartGateway]:
    """A factory of gateways that end with the test."""
    with gateways(bed, tmp_path) as start:
        yield start


@contextmanager
def gateways(bed: Bed, folder: Path) -> Iterator[StartGateway]:
    """Gateways that share a lease of their own: none has to wait for that of one that was killed."""
    started: list[ClusterGateway] = []
    leases = f"leases-{next(_numbers)}"

    def start(
        *arguments: str, env: Mapping[str, str] | None = None, token: str = "", account: Path | None = None
    ) -> ClusterGateway:
        own = folder / f"gateway{len(started)}"
        own.mkdir()
        kubeconfig = bed.kubeconfig_for(f"user-of-{own.name}", token) if token else bed.kubeconfig
        if not started and account is None:
            bed.kubectl("create", "namespace", leases)
        running = ClusterGateway(account or kubeconfig, own, leases, *arguments, env=env)
        started.append(running)
        return running

    try:
        yield start
    finally:
        for running in started:
            running.stop()
            print(f"--- a gateway; {running.last_words}")  # noqa: T201 - pytest shows it when the test has failed


@pytest.fixture(scope="module")
def cast(bed: Bed, ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    plain = [StandIn() for _ in range(3)]
    secure = StandIn(certificate=ca.issue_cert(HOST))
    words = [word for number, each in enumerate(plain, 1) for word in each.resolve(f"10.9.0.{number}", 8080)]
    bed.apply(CLASS)
    with gateways(bed, tmp_path_factory.mktemp("shared")) as start:
        yield Cast(lambda: start("--workers", "1", *words, *secure.resolve(HOST, 443)), plain, secure, ca)
    bed.kubectl("delete", "gatewayclass", "shared")
    for stand_in in (*plain, secure):
        stand_in.close()


@pytest.fixture
def space(bed: Bed, cast: Cast, namespace: str) -> Iterator[Space]:
    cast.revive()
    cast.gateway.until_ready()
    written = len(cast.gateway.log)
    yield Space(bed, cast, namespace)
    print(f"--- what the gateway wrote meanwhile:\n{cast.gateway.log[written:]}")  # noqa: T201 - shown on failure
    for resource in ("gateways", "httproutes"):
        bed.kubectl("delete", "--raw", f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/{resource}")


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    """The private CA."""
    return trustme.CA()


@pytest.fixture
def trust(ca: trustme.CA, tmp_path: Path) -> dict[str, str]:
    """The environment in which a gateway trusts the private CA as the system's."""
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}


@pytest.fixture
def providers(ca: trustme.CA) -> Iterator[dict[str, StandIn]]:
    """Stand-ins for the Kubernetes guide's two providers, by host name."""
    started = {
        host: StandIn(certificate=ca.issue_cert(host), client_ca=None)
        for host in ("api.mistral.ai", "api.deepseek.com")
    }
    yield started
    for stand_in in started.values():
        stand_in.close()
