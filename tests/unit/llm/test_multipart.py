"""Forms as they stream by: the model is read and set, and no other byte changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torana.llm.multipart import Form, boundary_of

BOUNDARY = b"x-2f9"


def form(*parts: tuple[bytes, bytes], close: bytes = b"--\r\n") -> bytes:
    """A form of parts, each a head (without Content-Disposition's beginning) and a content."""
    text = b""
    for head, content in parts:
        text += b"--" + BOUNDARY + b"\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + content + b"\r\n"
    return text + b"--" + BOUNDARY + close


FILE = (b'name="file"; filename="a.wav"\r\nContent-Type: audio/wav', b"RIFF\r\n--x-2f\r\n\0\xff" * 9)
MODEL = (b'name="model"', b"whisper-1")
WHOLE = form((b'name="language"', b"en"), MODEL, FILE)


def through(body: bytes, model: str | None, size: int) -> tuple[bytes, Form]:
    """`body` fed in pieces of `size`."""
    field = Form(BOUNDARY, {b"model": model.encode()} if model else {})
    out = b"".join(field.feed(body[at : at + size]) for at in range(0, len(body), size))
    return out + field.finish(), field


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_nothing_changes(size: int) -> None:
    """Without a configured model a form passes byte for byte, and its model is known."""
    out, field = through(WHOLE, None, size)
    assert out == WHOLE
    assert field.asked == "whisper-1"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
@pytest.mark.parametrize("parts", [(MODEL, FILE), (FILE, MODEL)], ids=["model first", "file first"])
def test_model_is_set(parts: tuple[tuple[bytes, bytes], ...], size: int) -> None:
    """A configured model takes the place of the form's, wherever that stands and however the form is cut."""
    out, field = through(form(*parts), "large-v3-turbo", size)
    assert out == form(*((head, b"large-v3-turbo" if head == MODEL[0] else content) for head, content in parts))
    assert field.asked == "whisper-1"


@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_model_is_added(size: int) -> None:
    """A form without a model gets the configured one as its last part."""
    out, field = through(form(FILE), "m", size)
    assert out == form(FILE, (b'name="model"', b"m"))
    assert field.asked is None


def test_no_second_model_slips_through() -> None:
    """A form that names the model twice gets the configured one in both places, whichever the upstream reads."""
    out, field = through(form(MODEL, FILE, (b"name=model", b"other")), "m", 11)
    assert out == form((b'name="model"', b"m"), FILE, (b"name=model", b"m"))
    assert field.asked == "whisper-1"


@pytest.mark.parametrize("size", [1, 100, 10_000])
def test_a_long_model_is_set_too(size: int) -> None:
    """A value too long to be held does not slip through; without a configured model it passes."""
    body = form((MODEL[0], b"x" * 5000), FILE)
    assert through(body, "m", size)[0] == form((MODEL[0], b"m"), FILE)
    assert through(body, None, size)[0] == body


def test_a_file_called_model_is_no_model_of_its_own() -> None:
    """`filename="model"` does not make a part the model."""
    body = form((b'name="file"; filename="model"', b"data"))
    assert through(body, None, 4)[0] == body
    assert through(body, None, 4)[1].asked is None


@pytest.mark.parametrize(
    "body",
    [b"", b"no form at all", b"--x-2f9", WHOLE[:-30], WHOLE.replace(b"\r\n", b"\n"), form(MODEL, close=b"")],
    ids=["empty", "text", "begin", "cut", "line feeds", "no end"],
)
def test_what_is_no_form_passes(body: bytes) -> None:
    """What cannot be read as a form goes on as it came."""
    for size in (1, 6, 1000):
        assert through(body, None, size)[0] == body


@pytest.mark.parametrize(
    "body",
    [b"no form at all, and long enough", WHOLE.replace(b"\r\n", b"\n"), b"preamble\r\n" + WHOLE, b"--x-2f9"],
    ids=["text", "line feeds", "preamble", "begin"],
)
def test_what_is_no_form_gets_no_model_past(body: bytes) -> None:
    """Where a model is to be set, nothing goes on of what one reader takes for a form and another does not."""
    for size in (1, 6, 1000):
        assert through(body, "m", size)[0] == b""


def test_little_is_held() -> None:
    """Of a file of a megabyte no more is held back than a delimiter is long."""
    field = Form(BOUNDARY, {b"model": b"m"})
    head = form(FILE)[: -len(BOUNDARY) - 8]
    sent = len(field.feed(head))
    for _ in range(16):
        sent += len(field.feed(b"\r" * 65536))
    assert len(head) + 16 * 65536 - sent < 2 * len(BOUNDARY)


@given(st.lists(st.binary(max_size=30), max_size=4), st.integers(1, 40))
def test_any_content(contents: list[bytes], size: int) -> None:
    """Whatever the files hold, short of the delimiter itself, they arrive unchanged."""
    parts = [(b'name="file"', content) for content in contents if b"--" + BOUNDARY not in content]
    assert through(form(*parts, MODEL), None, size)[0] == form(*parts, MODEL)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        (b"multipart/form-data; boundary=abc", b"abc"),
        (b'Multipart/Form-Data; charset=utf-8; boundary="a b"', b"a b"),
        (b"multipart/form-data", None),
        (b"multipart/form-data; boundary=a; boundary=b", None),
        (b"application/json; boundary=abc", None),
    ],
)
def test_boundary(content_type: bytes, boundary: bytes | None) -> None:
    """The boundary is the parameter of multipart/form-data (RFC 2046, 5.1.1), quoted or not."""
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "head",
    [
        b'Content-Type: text/plain; name=other\r\nContent-Disposition: form-data; name="model"',
        b'Content-Disposition: form-data; filename="; name=other"; name="model"',
        b'content-disposition: form-data;\r\n name="model"',
        b"Content-Disposition: form-data; name*=utf-8''m%6Fdel",
        b'Content-Disposition: form-data; name="mod\\el"',
    ],
)
@pytest.mark.parametrize("size", [1, 10_000])
def test_no_spelling_hides_the_model(head: bytes, size: int) -> None:
    """However a part says that it is the model, it gets the configured one."""
    body = b"--x-2f9\r\n" + head + b"\r\n\r\nevil\r\n--x-2f9--\r\n"
    assert through(body, "good", size)[0] == body.replace(b"evil", b"good")


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize(("model", "sent"), [(b"fast", b"whisper-1"), (b"other", b"other")])
def test_aliases(model: bytes, sent: bytes, size: int) -> None:
    """A model that is another name for one is replaced by it; any other goes on as it came."""
    field = Form(BOUNDARY, alias={"fast": "whisper-1"}.get)
    body = form((b'name="model"', model), FILE)
    out = b"".join(field.feed(body[at : at + size]) for at in range(0, len(body), size)) + field.finish()
    assert out == form((b'name="model"', sent), FILE)
    assert (field.keeps_length, field.asked) == (False, model.decode())


def test_a_file_may_be_called_like_the_model() -> None:
    """What stands within a file's name says nothing of the field."""
    body = form((b'name="file"; filename="; name=model"', b"RIFF"), MODEL)
    assert through(body, None, 10_000)[1].asked == "whisper-1"


@pytest.mark.parametrize("size", [1, 10_000])
def test_a_head_without_end_hides_no_model(size: int) -> None:
    """Where a model is set, a part whose head is longer than is read does not go on."""
    long = (b'name="file"\r\nX-Long: ' + b"a" * 9000 + b'\r\nContent-Disposition: form-data; name="model"', b"evil")
    out, _ = through(form(long, MODEL), "good", size)
    assert out == form((b'name="model"', b"good"))


SETS = {b"model": b"m", b"temperature": b"0"}


@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_fields_are_set_and_added(size: int) -> None:
    """Fields that are set take the place of the client's, wherever it says them; added ones come where it says none."""
    body = form((b'name="temperature"', b"x" * 3000), FILE, (b'name="language"', b"de"), (b"name=temperature", b"1"))
    changed = Form(BOUNDARY, SETS, {b"language": b"en", b'a"b': b"c\nd", b"temperature": b"9"})
    out = b"".join(changed.feed(body[at : at + size]) for at in range(0, len(body), size)) + changed.finish()
    assert out == form(
        (b'name="temperature"', b"0"),
        FILE,
        (b'name="language"', b"de"),
        (b"name=temperature", b"0"),
        (b'name="a%22b"', b"c\nd"),
        (b'name="model"', b"m"),
    )
    assert changed.whole(body) == out


@pytest.mark.parametrize("size", [1, 10_000])
def test_a_field_with_two_names(size: int) -> None:
    """A part that one reader takes for one field that is set, and another for another, does not go on."""
    body = form((b"name=temperature; name*=utf-8''model", b"evil"), FILE)
    changed = Form(BOUNDARY, SETS)
    out = b"".join(changed.feed(body[at : at + size]) for at in range(0, len(body), size)) + changed.finish()
    assert out == form(FILE, (b'name="model"', b"m"), (b'name="temperature"', b"0"))


def test_a_field_whose_other_name_is_the_models() -> None:
    """A part that may be the model, and may be a field that is set, gets what is set; its model is not read."""
    body = form((b"name=temperature; name*=utf-8''model", b"evil"), FILE)
    changed = Form(BOUNDARY, {b"temperature": b"0"})
    assert changed.whole(body) == body.replace(b"evil", b"0")
    assert changed.asked is None
