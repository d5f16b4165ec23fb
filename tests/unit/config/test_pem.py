"""What is wrong with a certificate or a key is said in a way that helps to mend it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable

import pytest
import trustme

from torana.config.pem import certificates_fault, key_fault

_LEAF = trustme.CA(key_type=trustme.KeyType.ECDSA).issue_cert("a.example")
CERT = _LEAF.cert_chain_pems[0].bytes().decode()
KEY = _LEAF.private_key_pem.bytes().decode()


def _of_key(text: str) -> str | None:
    return key_fault(CERT, text)


@pytest.mark.parametrize(
    ("judge", "text", "words"),
    [
        (certificates_fault, CERT, None),
        (certificates_fault, KEY, "holds a private key where a certificate is expected"),
        (certificates_fault, CERT[: len(CERT) // 2], "has a certificate that cannot be read: it is cut off"),
        (certificates_fault, b64encode(CERT.encode()).decode(), "is in base64 once more"),
        (certificates_fault, "text", "holds no certificate in PEM form"),
        (_of_key, KEY, None),
        (_of_key, CERT, "holds a certificate where a private key is expected"),
        (_of_key, KEY[:80] + KEY[-30:], "has a private key that cannot be read: it is cut off"),
        (_of_key, b64encode(KEY.encode()).decode(), "is in base64 once more"),
        (_of_key, "text", "holds no private key in PEM form"),
    ],
)
def test_faults(judge: Callable[[str], str | None], text: str, words: str | None) -> None:
    """A text that is another thing, cut off, or encoded twice is told as what it is."""
    fault = judge(text)
    assert fault is None if words is None else fault is not None and fault.startswith(words)
