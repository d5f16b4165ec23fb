"""What a chat-completions provider cannot be asked, in words that tell the client what to do instead."""

from __future__ import annotations

from torana.errors import GatewayError, Reason


def no_form(path: str, what: str, instead: str = "") -> GatewayError:
    """`what` says what stands at `path`, and `instead` what else to send there."""
    advice = f"{instead}, or route" if instead else "route"
    return GatewayError(
        Reason.UNTRANSLATABLE,
        f"`{path}` {what}, which chat completions has no form for; {advice} the request to OpenAI.",
        param=path,
    )


def no_memory(path: str, instead: str) -> GatewayError:
    return GatewayError(
        Reason.UNTRANSLATABLE,
        f"`{path}` needs responses to be stored, and this provider is asked by chat completions, which remembers "
        f"nothing; {instead}, or route the request to OpenAI.",
        param=path,
    )


def only_openai(path: str, kind: str) -> GatewayError:
    return GatewayError(
        Reason.UNTRANSLATABLE,
        f"`{path}` is the tool `{kind}` of OpenAI's own, which this provider does not have; "
        "give it as a tool of type `function`, or route the request to OpenAI.",
        param=path,
    )
