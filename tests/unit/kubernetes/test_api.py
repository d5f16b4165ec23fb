"""Calls of the Kubernetes API: whatever keeps an answer away has one name, so that nothing ends the following."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from torana.config.kubernetes import plugin
from torana.config.kubernetes.api import Api, ApiError, ClusterError, Json
from torana.config.kubernetes.kinds import LEASE
from torana.config.kubernetes.objects import Object, Options
from torana.config.kubernetes.translate import translate

_NO_JSON = b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n<html></html>"


def _kubeconfig(folder: Path, user: dict[str, Any], port: int = 1) -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "only",
        "contexts": [{"name": "only", "context": {"cluster": "only", "user": "only"}}],
        "clusters": [{"name": "only", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "only", "user": user}],
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return path


def _plugin(program: str, version: str = "v1beta1") -> dict[str, Any]:
    version = f"client.authentication.k8s.io/{version}"
    return {"exec": {"apiVersion": version, "command": sys.executable, "args": ["-c", program]}}


async def _items(api: Api) -> list[Json]:
    return [item async for page in api.pages(LEASE) for item in page.items]


async def _list(api: Api) -> None:
    await _items(api)


async def _watch(api: Api) -> None:
    async with api.watch(LEASE, "1") as events:
        async for _ in events:
            pass


async def _asked(kubeconfig: Path, call: Callable[[Api], Awaitable[None]]) -> ApiError:
    api = Api(kubeconfig)
    try:
        with pytest.raises(ApiError) as caught:
            await asyncio.wait_for(call(api), 30)
    finally:
        await api.close()
    return caught.value


@pytest.mark.parametrize("call", [_list, _watch])
@pytest.mark.parametrize(
    ("user", "words"),
    [
        (_plugin("exit(3)"), "no credentials for the API server"),
        (_plugin("print('no JSON')"), "no credentials for the API server"),
        (_plugin("print('{}')"), "no credentials for the API server"),
        (_plugin("""print('{"status": {"clientKeyData": "sk"}}')"""), "no credentials for the API server"),
        (_plugin("print('[]')"), "no credentials for the API server"),
        (_plugin("", "v2"), "no credentials for the API server"),
        ({"exec": {**_plugin("")["exec"], "command": "/no/such/plugin"}}, "no credentials for the API server"),
        ({"tokenFile": "/no/such/token"}, "no credentials for the API server"),
        ({}, "the API server cannot be reached"),
    ],
)
async def test_no_answer(tmp_path: Path, user: dict[str, Any], words: str, call: Callable[[Api], Any]) -> None:
    """A credential that cannot be had is told like a server that cannot be reached, in calls and in watches."""
    error = await _asked(_kubeconfig(tmp_path, user), call)
    assert error.reason == "unreachable"
    assert str(error).startswith(words)


async def test_a_plugin_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential plugin has its time; then it is ended, with all that it began, and told of."""
    monkeypatch.setattr(plugin, "_LONGEST", 0.5)
    program = "import subprocess; subprocess.run(['sleep', '60'])"
    error = await _asked(_kubeconfig(tmp_path, _plugin(program)), _list)
    assert str(error).endswith(f"the plugin {sys.executable} has not answered within 0.5 seconds")


async def test_a_plugin_that_answers(tmp_path: Path) -> None:
    """Its token is sent, and it is asked again when the API server refuses that."""
    sent: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        sent.append(next(line for line in request.split(b"\r\n") if line.lower().startswith(b"authorization:")))
        writer.write(b"HTTP/1.1 401 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    count = tmp_path / "count"
    program = (
        f"import json, pathlib; count = pathlib.Path({str(count)!r}); count.open('a').write('x'); "
        "print(json.dumps({'status': {'token': count.read_text()}}))"
    )
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        api = Api(_kubeconfig(tmp_path, _plugin(program), server.sockets[0].getsockname()[1]))
        for _ in range(2):
            with pytest.raises(ApiError) as caught:
                await asyncio.wait_for(_list(api), 30)
            assert caught.value.reason == "unauthorized"
        await api.close()
    assert [line.rpartition(b" ")[2] for line in sent] == [b"x", b"x", b"xx"]


@pytest.mark.parametrize("version", ["v1beta1", "v1"])
async def test_one_plugin_for_all_that_begin_at_once(tmp_path: Path, version: str) -> None:
    """Calls that begin at once ask the plugin once, which is told what it is asked for; all have its token."""
    sent: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        sent.append(next(line for line in request.split(b"\r\n") if line.lower().startswith(b"authorization:")))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        writer.close()

    count = tmp_path / "count"
    program = (
        f"import json, os, pathlib; count = pathlib.Path({str(count)!r}); count.open('a').write('x'); "
        "asked = json.loads(os.environ['KUBERNETES_EXEC_INFO']); "
        "print(json.dumps({'status': {'token': asked['apiVersion'].rpartition('/')[2] + count.read_text()}}))"
    )
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        api = Api(_kubeconfig(tmp_path, _plugin(program, version), server.sockets[0].getsockname()[1]))
        await asyncio.wait_for(asyncio.gather(*(_list(api) for _ in range(5))), 30)
        await api.close()
    assert [line.rpartition(b" ")[2] for line in sent] == [f"{version}x".encode()] * 5


async def test_a_token_that_is_written_anew(tmp_path: Path) -> None:
    """The next call, and the next watch, has the token that is in the file by then: the old one need not be refused."""
    sent: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        sent.append(next(line for line in request.split(b"\r\n") if line.lower().startswith(b"authorization:")))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        writer.close()

    token = tmp_path / "token"

    def rotate(text: str) -> None:
        """As a kubelet does: by another file under the same name."""
        (tmp_path / "new").write_text(f"{text}\n")
        (tmp_path / "new").rename(token)

    rotate("first")
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        kubeconfig = _kubeconfig(tmp_path, {"tokenFile": "token"}, server.sockets[0].getsockname()[1])
        api = Api(kubeconfig)
        await asyncio.wait_for(_list(api), 30)
        rotate("second")
        await asyncio.wait_for(_list(api), 30)
        rotate("third")
        async with asyncio.timeout(30), api.watch(LEASE, "1"):
            pass
        await api.close()
    assert [line.rpartition(b" ")[2] for line in sent] == [b"first", b"second", b"third"]


@pytest.mark.parametrize("call", [_list, _watch])
async def test_an_answer_that_is_no_json(tmp_path: Path, call: Callable[[Api], Any]) -> None:
    """A page of HTML from something in between is told, and ends nothing."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_NO_JSON)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        error = await _asked(_kubeconfig(tmp_path, {"token": "t"}, port), call)
    assert str(error).startswith("the API server's answer cannot be read")


@pytest.mark.parametrize("call", [_list, _watch])
async def test_a_token_that_no_header_can_carry(tmp_path: Path, call: Callable[[Api], Any]) -> None:
    """A token with a line break in it is told of, and not shown."""

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        error = await _asked(_kubeconfig(tmp_path, {"token": "sk-one\nsk-two"}, port), call)
    assert str(error) == "the request cannot be sent: is there a line break in the token?"


@pytest.mark.parametrize("text", ["token: [sk-one", "a: 1\n---\nb: 2", "- sk-one", "users: sk-one"])
def test_no_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A file that is no kubeconfig is told by its name, and nothing of it is shown."""
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(ClusterError) as caught:
        Api()
    assert str(path) in str(caught.value)
    assert "sk-one" not in str(caught.value)


async def test_lines_of_a_watch(tmp_path: Path) -> None:
    """An event ends with its line break alone, in however many pieces it comes and whatever its text has in it."""
    names = ["next\x85line", "separator\u2028s\u2029", "plain"]
    lines = [json.dumps({"type": "ADDED", "object": {"name": name}}, ensure_ascii=False).encode() for name in names]
    whole = b"\n".join(lines) + b"\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n")
        for start in range(0, len(whole), 7):
            piece = whole[start : start + 7]
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        writer.write(b"0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        api = Api(_kubeconfig(tmp_path, {}, server.sockets[0].getsockname()[1]))
        async with asyncio.timeout(30), api.watch(LEASE, "1") as events:
            assert [event.object["name"] async for event in events] == names
        await api.close()


async def test_an_object_that_is_nested_too_deeply(tmp_path: Path) -> None:
    """It is read without its depths, in lists and in watches, and keeps no other from being read."""
    deep = '{"a":' * 5000 + '"\\"}{["' + "}" * 5000
    items = f'{{"name": "deep", "spec": {deep}}}, {{"name": "other"}}'
    listed = f'{{"metadata": {{"resourceVersion": "1"}}, "items": [{items}]}}'
    watched = f'{{"type": "ADDED", "object": {{"name": "deep", "spec": {deep}}}}}\n{{"type": "ADDED", "object": {{}}}}'

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        body = (watched if b"watch=true" in request else listed).encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (len(body), body))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        api = Api(_kubeconfig(tmp_path, {}, server.sockets[0].getsockname()[1]))
        found = await asyncio.wait_for(_items(api), 30)
        async with asyncio.timeout(30), api.watch(LEASE, "1") as events:
            seen = [event.object async for event in events]
        await api.close()
    assert [item["name"] for item in found] == ["deep", "other"]
    assert seen[1] == {}
    for each in (found[0], seen[0]):
        backend = Object("agentgateway.dev/v1alpha1", "AgentgatewayBackend", "a", "deep", {"spec": each["spec"]})
        (status,) = translate([backend], Options()).statuses
        assert "nested too deeply" in str(status.status)
