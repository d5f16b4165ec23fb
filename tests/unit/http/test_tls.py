"""Whose certificate is accepted, and how a key gets to OpenSSL."""

from __future__ import annotations

import os
import ssl
import tempfile
from pathlib import Path

import pytest
import trustme

from torana.config.pem import key_fault
from torana.http.tls import NoKeyFileError, check_names, load_pair
from torana.model.policy import BackendTls


@pytest.mark.parametrize(
    ("accepted", "certificate", "fits"),
    [
        ("a.example.com", [("DNS", "a.example.com")], True),
        ("a.example.com", [("DNS", "A.Example.com")], True),
        ("a.example.com", [("DNS", "*.example.com")], True),
        ("a.example.com", [("DNS", "b.example.com"), ("DNS", "*.EXAMPLE.com")], True),
        ("a.b.example.com", [("DNS", "*.example.com")], False),
        ("example.com", [("DNS", "*.example.com")], False),
        (".example.com", [("DNS", "*.example.com")], False),
        ("a.example.com", [("DNS", "a*.example.com")], False),
        ("a.example.com", [("DNS", "*")], False),
        ("com", [("DNS", "*.")], False),
        ("a.example.com", [("URI", "*.example.com")], False),
        ("spiffe://example.com/a", [("URI", "spiffe://example.com/a")], True),
        ("spiffe://example.com/a", [("URI", "spiffe://example.com/A")], False),
        ("192.0.2.1", [("IP Address", "192.0.2.1")], True),
        ("a.example.com", [], False),
    ],
)
def test_accepted_names(accepted: str, certificate: list[tuple[str, str]], *, fits: bool) -> None:
    """A wildcard of the certificate is the whole left-most label (RFC 9525, 6.3); URIs are compared as written."""
    tls = BackendTls(subject_alt_names=("x.test", accepted))
    if fits:
        check_names(tls, {"subjectAltName": tuple(certificate)})
    else:
        with pytest.raises(ssl.SSLCertVerificationError, match="certificate is for"):
            check_names(tls, {"subjectAltName": tuple(certificate)})


@pytest.fixture(scope="module")
def pair() -> tuple[str, str]:
    leaf = trustme.CA().issue_cert("a.example.com")
    return leaf.cert_chain_pems[0].bytes().decode(), leaf.private_key_pem.bytes().decode()


def _refuse(*_: object, **__: object) -> int:
    raise FileNotFoundError(2, "No usable temporary directory found")


def test_a_key_needs_no_disk(pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On Linux a key is loaded where no file can be written."""
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", _refuse)
    load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), *pair)
    assert key_fault(*pair) is None


def test_a_key_without_memory_files(pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Elsewhere it goes through a temporary file, which is gone afterwards."""
    monkeypatch.setattr(os, "memfd_create", _refuse)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), *pair)
    assert not [*tmp_path.iterdir()]


def test_no_place_for_a_key(pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither is to be had, the error says what would help."""
    monkeypatch.setattr(os, "memfd_create", _refuse)
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", _refuse)
    with pytest.raises(NoKeyFileError) as caught:
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), *pair)
    assert str(caught.value) == (
        "OpenSSL takes private keys from files alone, and no temporary one can be written "
        "(No usable temporary directory found): set TMPDIR to a folder where it can"
    )
    assert key_fault(*pair) == f"cannot be looked at: {caught.value}"
