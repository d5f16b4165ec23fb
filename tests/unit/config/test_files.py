"""Certificates, keys and credentials from files."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from torana.config.loaded import Loaded
from torana.config.problem import ConfigError
from torana.config.standalone.load import load
from torana.model.config import Protocol
from torana.model.policy import TlsVersion

_LISTENER = "binds: [{{port: 443, listeners: [{{protocol: HTTPS, tls: {{{0}}}, routes: []}}]}}]"
_BACKEND = "binds: [{{port: 80, listeners: [{{routes: [{{backends: [{{host: 'a:8443', policies: {{{0}}}}}]}}]}}]}}]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, two certificates with their keys, and files that are none of these."""
    path = tmp_path_factory.mktemp("files")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(path / "ca.pem")
    for name in ("one", "two"):
        issued = authority.issue_cert(f"{name}.example")
        issued.cert_chain_pems[0].write_to_path(path / f"{name}.pem")
        issued.private_key_pem.write_to_path(path / f"{name}.key")
    (path / "text").write_text("no certificate\n")
    (path / "bytes").write_bytes(b"\xff\xfe\x00")
    (path / "blank").write_text(" \n")
    (path / "locked.key").write_text(
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n"
    )
    return path


def _load(text: str, folder: Path) -> Loaded:
    return load(text, "f", {"BLANK": ""}, folder)


def test_listener_certificate(folder: Path) -> None:
    """A listener's certificate, key and roots are read from the configuration's folder, and all are to be watched."""
    names = "cert: one.pem, key: one.key, root: ca.pem, minTlsVersion: TLS_V1_2, maxTLSVersion: TLS_V1_3"
    loaded = _load(_LISTENER.format(names), folder)
    tls = loaded.config.binds[0].listeners[0].tls
    assert tls is not None
    assert tls.cert == (folder / "one.pem").read_text()
    assert tls.key.reveal() == (folder / "one.key").read_text()
    assert tls.client_roots == (folder / "ca.pem").read_text()
    assert (tls.min_version, tls.max_version) == (TlsVersion.V1_2, TlsVersion.V1_3)
    assert loaded.files == (folder / "one.pem", folder / "one.key", folder / "ca.pem")


@pytest.mark.parametrize(
    "text",
    [
        "gateways: {a: {port: 443, tls: {cert: one.pem, key: one.key}}}",
        "gateways: {a: {port: 443, listeners: [{hostname: one.example, tls: {cert: one.pem, key: one.key}}]}}",
        "llm: {port: 443, tls: {cert: one.pem, key: one.key}, models: [{name: a, provider: ollama}]}",
    ],
)
def test_tls_makes_it_https(text: str, folder: Path) -> None:
    """A gateway, its listener and the port of `llm` speak HTTPS where they have a certificate, without saying so."""
    listener = _load(text, folder).config.binds[0].listeners[0]
    assert listener.protocol is Protocol.HTTPS
    assert listener.tls is not None
    assert listener.tls.key.reveal() == (folder / "one.key").read_text()


def test_client_certificate(folder: Path) -> None:
    """A backend's client certificate, key and roots are read in the same way."""
    loaded = _load(_BACKEND.format("backendTLS: {cert: one.pem, key: one.key, root: ca.pem}"), folder)
    backend = loaded.config.binds[0].listeners[0].routes[0].backends[0].groups[0][0]
    assert backend is not None
    tls = backend.tls
    assert tls is not None
    assert (tls.cert, tls.roots) == ((folder / "one.pem").read_text(), (folder / "ca.pem").read_text())
    assert tls.key is not None
    assert tls.key.reveal() == (folder / "one.key").read_text()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (_LISTENER.format("cert: two.pem, key: one.key"), 'the file "one.key" is not the key of this certificate'),
        (_LISTENER.format("cert: one.key, key: one.key"), 'the file "one.key" holds a private key where a certificate'),
        (_LISTENER.format("cert: one.pem, key: one.pem"), 'the file "one.pem" holds a certificate where a private key'),
        (_LISTENER.format("cert: one.pem, key: locked.key"), 'the file "locked.key" is encrypted'),
        (_LISTENER.format("cert: text, key: one.key"), 'the file "text" holds no certificate in PEM form'),
        (_LISTENER.format("cert: bytes, key: one.key"), 'the file "bytes" is not UTF-8 text'),
        (_LISTENER.format("cert: ., key: one.key"), 'cannot read the file ".": Is a directory'),
        (_LISTENER.format("cert: one.pem, key: one.key, root: gone"), 'cannot read the file "gone": No such file'),
        (_BACKEND.format("backendTLS: {root: text}"), 'the file "text" holds no certificate in PEM form'),
        (_BACKEND.format("backendTLS: {key: one.key}"), "a client certificate needs `cert` as well"),
        (_BACKEND.format("backendAuth: {key: {file: blank}}"), "the key is empty"),
        (_BACKEND.format("backendAuth: {key: {file: one.key}}"), "the key holds a line break"),
        (_BACKEND.format("backendAuth: {key: '$BLANK'}"), "the key is empty"),
    ],
)
def test_wrong_files_are_found(text: str, what: str, folder: Path) -> None:
    """A file that cannot serve its purpose is found when the configuration is loaded, not when a client comes."""
    with pytest.raises(ConfigError) as refused:
        _load(text, folder)
    assert [problem.what[: len(what)] for problem in refused.value.problems] == [what]


def test_a_name_that_no_file_can_have(folder: Path) -> None:
    """A NUL in the name of a file is a fault of the configuration like any other file that cannot be read."""
    with pytest.raises(
        ConfigError, match=r"backendAuth\.key\.file: cannot read the file .*: no file's name holds a NUL"
    ):
        _load(_BACKEND.format(r'backendAuth: {key: {file: "a\0b"}}'), folder)
