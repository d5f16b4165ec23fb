"""Whether certificates and keys in PEM text can be used, so that a wrong file is found when it is read.

Every function gives the reason why not, or None. OpenSSL's own words are not passed on: they say little, and change.
"""

from __future__ import annotations

import ssl

from torana.http.tls import NoKeyFileError, load_pair

_ENCODED = "LS0tLS1CRUdJTi"
"""`-----BEGIN` in base64."""


def certificates_fault(pem: str) -> str | None:
    """One or more certificates: a chain, or the authorities to trust."""
    if "PRIVATE KEY-----" in pem and "CERTIFICATE-----" not in pem:
        return "holds a private key where a certificate is expected"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError, TypeError):
        return _unread(pem, "certificate", "-----BEGIN CERTIFICATE-----")
    return None


def key_fault(cert: str, key: str) -> str | None:
    """The private key of the first of these certificates, which were checked before."""
    if "PRIVATE KEY-----" not in key:
        if "CERTIFICATE-----" in key:
            return "holds a certificate where a private key is expected"
        return _unread(key, "private key", "-----BEGIN PRIVATE KEY-----")
    if "ENCRYPTED" in key:
        return "is encrypted; a gateway that starts by itself has nobody to ask for the password"
    try:
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), cert, key)
    except NoKeyFileError as error:
        return f"cannot be looked at: {error.strerror}"
    except ssl.SSLError as error:
        mismatch = error.reason == "KEY_VALUES_MISMATCH"
        return "is not the key of this certificate" if mismatch else _unread(key, "private key", "PRIVATE KEY-----")
    return None


def _unread(text: str, what: str, begin: str) -> str:
    """What most often happens to a PEM text on its way into a file or a Secret."""
    if begin in text:
        return f"has a {what} that cannot be read: it is cut off, or has lost its line breaks"
    if text.lstrip().startswith(_ENCODED):
        return f"is in base64 once more; a {what} begins with `{begin}`"
    return f"holds no {what} in PEM form (`{begin}`)"
