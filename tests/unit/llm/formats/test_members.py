"""What every translation reads of a request before it looks at any member."""

from __future__ import annotations

import pytest

from torana.errors import GatewayError, Reason
from torana.llm.formats import TRANSLATIONS
from torana.llm.operation import Operation

_BODIES = {
    Operation.MESSAGES: b'{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":'
    b'[{"type":"tool_use","id":"t","name":"f","input":{"a":"\xff"}}]}]}',
    Operation.CHAT_COMPLETIONS: b'{"model":"m","messages":[{"role":"user","content":"a"}],"logit_bias":"\xff"}',
    Operation.RESPONSES: b'{"model":"m","input":"a","metadata":{"a":"\xff"}}',
}


@pytest.mark.parametrize(("spoken", "understood"), TRANSLATIONS)
def test_a_request_is_utf_8_to_its_innermost_text(spoken: Operation, understood: Operation) -> None:
    """Octets that are no UTF-8, wherever they stand in a request, are its author's fault and never an inner one."""
    with pytest.raises(GatewayError, match=r"not valid JSON.*UTF-8") as caught:
        TRANSLATIONS[spoken, understood].request(_BODIES[spoken], "m")
    assert caught.value.reason is Reason.BAD_JSON
