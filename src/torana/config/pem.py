"""Whether certificates and keys in PEM text can be used, so that a wrong file is found when it is read.

Every function gives the reason why not, or None. OpenSSL's own words are not passed on: they say little, and change.
"""

from __future__ import annotations

import ssl

from torana.http.tls import NoKeyFileError, load_pair


def certificates_fault(pem: str) -> str | None:
    """One or more certificates: a chain, or the authorities to trust."""
    if "PRIVATE KEY-----" in pem and "CERTIFICATE-----" not in pem:
        return "holds a private key where a certificate is expected"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError, TypeError):
        return "holds no certificate in PEM form (`-----BEGIN CERTIFICATE-----`)"
    return None


def key_fault(cert: str, key: str) -> str | None:
    """The private key of the first of these certificates, which were checked before."""
    if "PRIVATE KEY-----" not in key:
        return "holds no private key in PEM form (`-----BEGIN PRIVATE KEY-----`)"
    if "ENCRYPTED" in key:
        return "is encrypted; a gateway that starts by itself has nobody to ask for the password"
    try:
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), cert, key)
    except NoKeyFileError as error:
        return f"cannot be looked at: {error.strerror}"
    except ssl.SSLError as error:
        mismatch = error.reason == "KEY_VALUES_MISMATCH"
        return "is not the key of this certificate" if mismatch else "holds no private key that can be read"
    return None
