"""Which operation a path asks for."""

from __future__ import annotations

import pytest

from torana.llm.operation import Operation, operation_of
from torana.llm.providers.facts import path_for, path_under


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        (b"/v1/chat/completions", Operation.CHAT_COMPLETIONS),
        (b"/chat/completions", Operation.CHAT_COMPLETIONS),
        (b"/openai/v1/chat/completions", Operation.CHAT_COMPLETIONS),
        (b"/inference/v1/chat/completions", Operation.CHAT_COMPLETIONS),
        (b"/v1beta/openai/chat/completions", Operation.CHAT_COMPLETIONS),
        (b"/v1/completions", Operation.COMPLETIONS),
        (b"/api/v1/embeddings", Operation.EMBEDDINGS),
        (b"/v1/responses", Operation.RESPONSES),
        (b"/anthropic/v1/messages", Operation.MESSAGES),
        (b"/v1/messages/count_tokens", Operation.COUNT_TOKENS),
        (b"/v2/rerank", Operation.RERANK),
        (b"/v1/models", Operation.MODELS),
        (b"/v1/models/gpt-4o", Operation.MODELS),
        (b"/v1/models/meta-llama/Llama-3-8b", Operation.MODELS),
        (b"/v1/responses/compact", Operation.RESPONSES_COMPACT),
        (b"/v1/moderations", Operation.MODERATIONS),
        (b"/v1/images/generations", Operation.IMAGES_GENERATIONS),
        (b"/v1/images/edits", Operation.IMAGES_EDITS),
        (b"/v1/images/variations", Operation.IMAGES_VARIATIONS),
        (b"/v1/audio/speech", Operation.AUDIO_SPEECH),
        (b"/openai/v1/audio/transcriptions", Operation.AUDIO_TRANSCRIPTIONS),
        (b"/v1/audio/translations", Operation.AUDIO_TRANSLATIONS),
        (b"/v1/realtime", Operation.REALTIME),
        (b"/v1/files", Operation.FILES),
        (b"/v1/vector_stores/vs_1/files", Operation.FILES),
        (b"/v1/batches", Operation.BATCHES),
        (b"/v1/messages/batches", Operation.BATCHES),
    ],
)
def test_the_longest_suffix_tells(path: bytes, operation: Operation) -> None:
    """Whatever a vendor puts before it, the end of the path names the operation."""
    assert operation_of(path) is operation


@pytest.mark.parametrize(
    "path",
    [
        b"/v1/chat/completions/",
        b"/v1//chat//completions",
        b"/v1/chat/./completions",
        b"/v1/chat/x/../completions",
        b"/v1/chat/%63ompletions",
        b"/v1/chat%2Fcompletions",
        b"/v1/%63%68at/completions/%2e",
    ],
)
def test_spelling_does_not_hide_an_operation(path: bytes) -> None:
    """A path that a server may read as an operation is that operation, so its model is enforced."""
    assert operation_of(path) is Operation.CHAT_COMPLETIONS


@pytest.mark.parametrize(
    "path",
    [b"", b"/", b"*", b"/v1", b"/v1/chat", b"/v1/xcompletions", b"/v1/chat/completions/id", b"/v1/responses/id",
     b"/v1/images", b"/v1/audio", b"/v1/files/f1", b"/v1/threads/t1/messages", b"/v1/chat/completions/c1/messages",
     b"/v1/%zz"],
)  # fmt: skip
def test_other_paths_are_no_operation(path: bytes) -> None:
    """A path that ends otherwise is passed on unread."""
    assert operation_of(path) is None


def test_only_chat_and_completions_take_the_usage_option() -> None:
    """`stream_options.include_usage` exists in OpenAI's chat completions and completions and nowhere else."""
    takes = {operation for operation in Operation if operation.takes_usage_option}
    assert takes == {Operation.CHAT_COMPLETIONS, Operation.COMPLETIONS}


@pytest.mark.parametrize(
    ("base", "path", "sent"),
    [
        ("/v1", b"/v1/chat/completions", b"/v1/chat/completions"),
        ("/openai/v1", b"/v1/chat/completions", b"/openai/v1/chat/completions"),
        ("/inference/v1/", b"/chat/completions/", b"/inference/v1/chat/completions"),
        ("", b"/v1/chat/completions", b"/chat/completions"),
        ("/", b"/team/v1/embeddings", b"/embeddings"),
        ("/api/v1", b"/v1/models", b"/api/v1/models"),
        ("/api/v1", b"/v1/models/org/name%20x", b"/api/v1/models/org/name%20x"),
        ("/api/v1", b"/v1/files/f1", b"/api/v1/files/f1"),
        ("/api/v1", b"/v1", b"/api/v1"),
        ("/api/v1", b"/v1beta/files", b"/v1beta/files"),
        ("/api/v1", b"/files", b"/files"),
        ("/api/v1", b"/v1/files", b"/api/v1/files"),
        ("/api/v1", b"/v1/vector_stores/vs_1/files", b"/api/v1/vector_stores/vs_1/files"),
        ("/api/v1", b"/v1/messages/batches", b"/api/v1/messages/batches"),
        ("/api/v1", b"/realtime", b"/api/v1/realtime"),
        ("/api/v1", b"/v1/audio/speech", b"/api/v1/audio/speech"),
    ],
)
def test_the_path_under_a_base(base: str, path: bytes, sent: bytes) -> None:
    """A known operation gets the base and its suffix; any other path has its leading `/v1` swapped for the base."""
    assert path_under(base, path) == sent


def test_the_path_of_an_operation() -> None:
    """An operation's path is the base and the suffix, with one slash between."""
    assert path_for("/openai/v1/", Operation.RESPONSES) == b"/openai/v1/responses"
