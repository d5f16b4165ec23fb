"""What the Python client scripts share: where to call, what to ask, and one line of JSON with what came of it.

A script is run with the names of its calls as arguments. Each result is what the call returned, or how it failed:
`{"error": "AuthenticationError", "status": 401}`. No SDK is imported here.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable

BASE_URL = os.environ["BASE_URL"]
API_KEY = os.environ["API_KEY"]
MODEL = os.environ["MODEL"]
QUESTION = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "Count from one to five."}],
    "max_tokens": 24,  # enough for a stream of several pieces, few enough to be quick on one core
    "temperature": 0,
}


def run(calls: dict[str, Callable[[], object]]) -> None:
    print(json.dumps({name: _outcome(calls[name]) for name in sys.argv[1:]}))


def _outcome(call: Callable[[], object]) -> object:
    try:
        return call()
    except Exception as error:
        return {"error": type(error).__name__, "status": getattr(error, "status_code", None), "message": str(error)}


def plain(answer):
    """An answer in OpenAI's form, as every SDK here shows it."""
    choice = answer.choices[0]
    return {
        "model": answer.model,
        "text": choice.message.content,
        "finish": choice.finish_reason,
        "tokens": answer.usage.completion_tokens,
    }


def streamed(chunks: Iterable):
    """The chunks of a stream in OpenAI's form, put together."""
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    pieces = [choice.delta.content for choice in choices if choice.delta.content]
    return {"pieces": len(pieces), "text": "".join(pieces), "finish": choices[-1].finish_reason}
