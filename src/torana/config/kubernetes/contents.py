"""What Secrets and ConfigMaps hold: tokens, certificates and keys. A fault says where, and never repeats a value."""

from __future__ import annotations

import base64
import binascii
from typing import Final

import msgspec

from torana.config.kubernetes.conditions import Fault
from torana.config.kubernetes.objects import Key, Object
from torana.config.kubernetes.store import Store
from torana.config.pem import certificates_fault, key_fault
from torana.config.syntax import header_value_fault
from torana.model.config import ServerTls
from torana.model.secret import Secret

TOKEN_KEY: Final = "Authorization"  # noqa: S105 - the name of the key, not what it holds
"""The key of a Secret that holds a provider's token (kgateway, Secret format)."""

AUTHORITIES_KEY: Final = "ca.crt"
"""The key of a ConfigMap or a Secret that holds CA certificates (Gateway API, BackendTLSPolicy)."""

TOO_LARGE: Final = "tooLarge"
"""The member of a Secret's copy that names the keys whose values were let go."""

_LARGEST = 64 * 1024  # bytes of a token
_ANY_SIZE = frozenset({"tls.crt", "tls.key", AUTHORITIES_KEY})

_BEARER = "Bearer "

INVALID_CERTIFICATE: Final = "InvalidCertificateRef"
INVALID_CA: Final = "InvalidCACertificateRef"


class Certificate(msgspec.Struct, frozen=True):
    """Of a Secret of type kubernetes.io/tls, as PEM text."""

    cert: str
    key: Secret

    def for_listener(self) -> ServerTls:
        return ServerTls(cert=self.cert, key=self.key)


def token(store: Store, namespace: str, name: str, key: str = TOKEN_KEY) -> Secret | Fault:
    """A token, ready to be put behind its prefix. The words of the fault are those of agentgateway's controller."""
    where = Key("", "Secret", namespace, name)
    obj = store.get(where)
    if obj is None:
        return Fault("SecretNotFound", f"{where} {store.absence(where)}")
    value = _value(obj, key)
    if isinstance(value, Fault):
        return value
    made = bare_token(value) if key == TOKEN_KEY else Secret(value.strip())
    if not made.reveal():
        return Fault("SecretKeyMissing", f"Secret {namespace}/{name} missing {key} value")
    if header_value_fault(made.reveal()) is not None:
        return Fault("SecretInvalid", f"Secret {namespace}/{name} has characters in {key} that no header can carry")
    return made


def is_too_large(key: str, encoded: object) -> bool:
    """Whether a value in base64 can be nothing that is read here, and need not be kept."""
    return key not in _ANY_SIZE and isinstance(encoded, str) and len(encoded) * 3 // 4 > _LARGEST


def bare_token(text: str) -> Secret:
    """White space around it and one leading `Bearer ` are dropped: people copy tokens with both."""
    return Secret(text.strip().removeprefix(_BEARER).strip())


def certificate(store: Store, namespace: str, name: str) -> Certificate | Fault:
    """A certificate with its key (kubernetes.io/tls); the words are those of agentgateway's controller."""
    secret = Key("", "Secret", namespace, name)
    obj = store.get(secret)
    where = f"invalid certificate reference /Secret/{name}."
    if obj is None:
        return Fault(INVALID_CERTIFICATE, f"{where}, secret {store.absence(secret)}")
    cert, key = _value(obj, "tls.crt"), _value(obj, "tls.key")
    if isinstance(cert, Fault) or isinstance(key, Fault):
        return Fault(INVALID_CERTIFICATE, f"{where}, the secret needs both tls.crt and tls.key")
    if (fault := certificates_fault(cert)) is not None:
        return Fault(INVALID_CERTIFICATE, f"{where}, tls.crt {fault}")
    if (fault := key_fault(cert, key)) is not None:
        return Fault(INVALID_CERTIFICATE, f"{where}, tls.key {fault}")
    return Certificate(cert, Secret(key))


def authorities(store: Store, target: Key) -> str | Fault:
    """The certificates in `ca.crt` of a ConfigMap or a Secret, as PEM text."""
    if target.group or target.kind not in {"ConfigMap", "Secret"}:
        return Fault("InvalidKind", f'"{target.group}/{target.kind}" cannot hold CA certificates; use a ConfigMap')
    where = f"{target.kind} {target.namespace}/{target.name}"
    obj = store.get(target)
    if obj is None:
        return Fault(INVALID_CA, f"{where} {store.absence(target)}")
    pem = _value(obj, AUTHORITIES_KEY)
    if isinstance(pem, Fault):
        return Fault(INVALID_CA, f"{where} missing ca.crt value")
    fault = certificates_fault(pem)
    return Fault(INVALID_CA, f"{where}: ca.crt {fault}") if fault is not None else pem


def _value(obj: Object, key: str) -> str | Fault:
    """`stringData` wins over `data`, as the API server merges them. A ConfigMap's data is plain text."""
    where = f"{obj.kind} {obj.namespace}/{obj.name}"
    missing = Fault("SecretKeyMissing", f"{where} missing {key} value")
    if obj.kind == "ConfigMap":
        text = _member(obj, "data", key)
        return text if text is not None else missing
    text = _member(obj, "stringData", key)
    if text is not None:
        return text
    encoded = _member(obj, "data", key)
    if encoded is None:
        if key in obj.body.get(TOO_LARGE, ()):
            return Fault("SecretInvalid", f"{where}: {key} is over 64 KiB, which no token is")
        return missing
    try:
        return base64.b64decode("".join(encoded.split()), validate=True).decode()
    except (binascii.Error, ValueError):  # UnicodeDecodeError is one
        return Fault("SecretInvalid", f"{where}: {key} is not UTF-8 text in base64")


def _member(obj: Object, field: str, key: str) -> str | None:
    values = obj.body.get(field)
    value = values.get(key) if isinstance(values, dict) else None
    return value if isinstance(value, str) else None
