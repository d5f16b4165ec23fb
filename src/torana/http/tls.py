"""TLS contexts, for listeners and towards upstreams, as OpenSSL can do them."""

from __future__ import annotations

import os
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO

import certifi

from torana.model.config import ServerTls
from torana.model.policy import BackendTls, TlsVersion

_VERSIONS = {TlsVersion.V1_2: ssl.TLSVersion.TLSv1_2, TlsVersion.V1_3: ssl.TLSVersion.TLSv1_3}
_ALPN = ["http/1.1"]


class NoKeyFileError(ssl.SSLError):
    """A certificate and its key could be put nowhere for OpenSSL to read them."""


@lru_cache(maxsize=256)
def upstream_context(tls: BackendTls) -> ssl.SSLContext:
    """A context for connecting by the rules of `tls`; equal rules share one. Raises ssl.SSLError for unusable PEM.

    Without `roots` the system's store is used (SSL_CERT_FILE and SSL_CERT_DIR are honoured by OpenSSL), and certifi's
    where the system has none. The minimum is TLS 1.2 (RFC 8996).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(_ALPN)
    if tls.insecure and not tls.insecure_host:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        # Accepted names are compared by `check_names` after the handshake; OpenSSL then only checks the chain.
        context.check_hostname = not (tls.insecure_host or tls.subject_alt_names)
        if tls.roots is not None:
            context.load_verify_locations(cadata=tls.roots)
        else:
            _load_system_roots(context)
    if tls.cert is not None and tls.key is not None:
        load_pair(context, tls.cert, tls.key.reveal())
    return context


def check_names(tls: BackendTls, certificate: dict[str, object]) -> None:
    """Any of `subject_alt_names` must be one of the certificate's. Raises ssl.SSLCertVerificationError.

    RFC 9525, 6.3: a certificate's `*.example.com` is every name of one label more; names of hosts have no case.
    """
    if not tls.subject_alt_names or tls.insecure_host or tls.insecure:
        return
    names = certificate.get("subjectAltName", ())
    pairs = [(str(kind), str(name)) for kind, name in names] if isinstance(names, tuple) else []
    found = {name for _, name in pairs}
    hosts = {name.lower() for kind, name in pairs if kind == "DNS"}
    if not any(name in found or _is_host_of(hosts, name.lower()) for name in tls.subject_alt_names):
        message = f"certificate is for {', '.join(sorted(found)) or 'no name'}, not {', '.join(tls.subject_alt_names)}"
        raise ssl.SSLCertVerificationError(message)


def server_context(tls: ServerTls) -> ssl.SSLContext:
    """A context for one listener. Raises ssl.SSLError for PEM that is no certificate, or a key that does not fit it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.min_version] if tls.min_version else ssl.TLSVersion.TLSv1_2
    if tls.max_version:
        context.maximum_version = _VERSIONS[tls.max_version]
    context.set_alpn_protocols(_ALPN)
    load_pair(context, tls.cert, tls.key.reveal())
    if tls.client_roots is not None:
        context.load_verify_locations(cadata=tls.client_roots)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _load_system_roots(context: ssl.SSLContext) -> None:
    context.set_default_verify_paths()
    paths = ssl.get_default_verify_paths()
    # `capath` folders are read during the handshake, so their certificates are not counted yet.
    has_folder = bool(paths.capath) and any(Path(paths.capath).iterdir())
    if not context.cert_store_stats()["x509_ca"] and not has_folder:
        context.load_verify_locations(certifi.where())


def _is_host_of(hosts: set[str], name: str) -> bool:
    label, _, parent = name.partition(".")
    return name in hosts or (bool(label and parent) and f"*.{parent}" in hosts)


def load_pair(context: ssl.SSLContext, cert: str, key: str) -> None:
    """A certificate with its chain, and the key of it. Raises ssl.SSLError for a pair that does not fit."""
    with _file_of(f"{cert.rstrip()}\n{key.rstrip()}\n") as path:
        # Without a password OpenSSL would ask for that of an encrypted key on the terminal, and wait for ever.
        context.load_cert_chain(path, password="")


@contextmanager
def _file_of(text: str) -> Iterator[str]:
    """OpenSSL's Python binding takes certificate chains from files only. This one is gone at once.

    Raises NoKeyFileError.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(_file())
            file.write(text)
            file.flush()
        except OSError as error:
            what = "OpenSSL takes private keys from files alone, and no temporary one can be written"
            hint = "set TMPDIR to a folder where it can"
            raise NoKeyFileError(error.errno, f"{what} ({error.strerror}): {hint}") from error
        yield f"/proc/self/fd/{file.fileno()}" if isinstance(file.name, int) else file.name


def _file() -> IO[str]:
    """In memory, where the system can; else on disk, readable by this user alone (mode 0600)."""
    if sys.platform == "linux" and Path("/proc/self/fd").exists():
        with suppress(OSError):  # an old kernel, or one that is told not to
            return os.fdopen(os.memfd_create("torana"), "w")
    return tempfile.NamedTemporaryFile("w", suffix=".pem")
