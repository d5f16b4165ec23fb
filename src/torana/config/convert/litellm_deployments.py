"""Deployments of LiteLLM, one an entry of `model_list`, as models of `llm`."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import msgspec

from torana.config.convert.report import Fidelity, Report
from torana.config.convert.written import WrittenFile, member
from torana.config.yaml.nodes import Mapping, Node, Scalar, Sequence, core_value

PREFIXES: Final[dict[str, str]] = {
    "openai": "openAI",
    "custom_openai": "openAI",
    "text-completion-openai": "openAI",
    "anthropic": "anthropic",
    "baseten": "baseten",
    "cerebras": "cerebras",
    "cohere": "cohere",
    "cohere_chat": "cohere",
    "deepinfra": "deepinfra",
    "deepseek": "deepseek",
    "fireworks_ai": "fireworks",
    "groq": "groq",
    "huggingface": "huggingface",
    "lm_studio": "lmstudio",
    "mistral": "mistral",
    "ollama": "ollama",
    "ollama_chat": "ollama",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "together_ai": "togetherai",
    "hosted_vllm": "vllm",
    "xai": "xai",
}
"""LiteLLM's prefix of a model -> the provider of `llm`. Source: https://docs.litellm.ai/docs/providers."""

AT_ROOT: Final = ("anthropic", "ollama", "ollama_chat")
"""Prefixes of which an `api_base` has no `/v1`: LiteLLM adds the whole path of their own API."""

_KEYLESS: Final = ("lmstudio", "ollama", "vllm")
"""Providers that run on machines of one's own, mostly without a key."""

_LATER = frozenset(
    (
        *("azure", "azure_ai", "azure_text", "bedrock", "bedrock_converse", "gemini", "vertex_ai", "vertex_ai_beta"),
        *("palm", "sagemaker", "sagemaker_chat", "github_copilot", "databricks", "watsonx", "replicate", "cloudflare"),
        *("nvidia_nim", "sambanova", "ai21", "ai21_chat", "voyage", "predibase", "clarifai", "nlp_cloud", "petals"),
    )
)
"""Prefixes that are providers, and none of ours: what has neither kind is part of a model's name."""

_BODY: Final = frozenset(
    (
        *("temperature", "top_p", "max_tokens", "max_completion_tokens", "n", "stop", "seed", "presence_penalty"),
        *(
            "frequency_penalty",
            "logit_bias",
            "response_format",
            "reasoning_effort",
            "user",
            "top_k",
            "parallel_tool_calls",
        ),
    )
)
"""Members of a request: what a deployment says of them holds where the client says nothing."""

_READ: Final = frozenset(
    (
        *("model", "api_key", "api_base", "base_url", "custom_llm_provider", "weight", "order", "rpm", "tpm"),
        *("extra_headers", "organization", "extra_body"),
    )
)
_MANUAL: Final = {
    "timeout": "a model has no timeout of its own: `llm.policies.timeout` is for all",
    "stream_timeout": "a model has no timeout of its own: `llm.policies.timeout.firstByteTimeout` is for all",
    "max_retries": "a model has no retries of its own: `llm.policies.retry` is for all",
    "num_retries": "a model has no retries of its own: `llm.policies.retry` is for all",
    "litellm_credential_name": "give the model its `params.apiKey`",
}
_VARIABLE = re.compile(r"os\.environ/([A-Za-z_]\w*)")
_REFERENCE = re.compile(r"\$(?=[A-Za-z_{$])")


class Deployment(msgspec.Struct):
    """A model; `order` and `weight` are its place in its group, `limits` its rpm and tpm. `line` is its entry's."""

    name: str
    tree: dict[str, Any]
    order: int
    weight: int
    limits: dict[str, int]
    line: int


class _Model(NamedTuple):
    """`provider` is the name in `llm`; `model` None is the client's."""

    provider: str
    model: str | None


class Deployments:
    def __init__(self, file: WrittenFile, report: Report) -> None:
        self._file = file
        self._report = report

    def read(self, entry: Node) -> Deployment | None:
        """None when it has no form here, which is reported."""
        name = self._file.text(member(entry, "model_name")) or ""
        params = member(entry, "litellm_params")
        line = self._file.line(entry)
        before = len(self._report.findings)
        model = self._model(name, params, line)
        if model is None or not isinstance(params, Mapping) or not self._has_place(params, name):
            return None
        tree: dict[str, Any] = {"name": escaped(name), "provider": model.provider}
        made: dict[str, Any] = {"model": escaped(model.model) if model.model is not None else None}
        made["apiKey"] = self._key(params, name)
        made["baseUrl"] = self._base(params, name)
        tree["params"] = {key: value for key, value in made.items() if value is not None} or None
        if made["apiKey"] is None and made["baseUrl"] is None and model.provider not in _KEYLESS:
            what = "LiteLLM takes it from its environment: give it as `params.apiKey`, or the client's own goes on"
            self._report.add(Fidelity.MANUAL, f"model_list: {name}: api_key", what, line=line)
        defaults = {key: self._value(each.value) for key, each in params.entries.items() if key in _BODY}
        tree["defaults"] = defaults or None
        tree["overrides"] = self._value(member(params, "extra_body"))
        tree["requestHeaders"] = self._headers(params)
        self._others(entry, params, name)
        limits = {key: amount for key in ("rpm", "tpm") if (amount := self._number(entry, params, key)) is not None}
        order = self._number(entry, params, "order")
        weight = self._weight(params, name, line)
        if len(self._report.findings) == before and not limits:
            self._report.add(Fidelity.EXACT, f"model_list: {name}", line=line)
        return Deployment(name, tree, 1 if order is None else order, weight, limits, line)

    # The model

    def _model(self, name: str, params: Node | None, line: int) -> _Model | None:
        subject = f"model_list: {name}" if name else "model_list"
        written = self._file.text(member(params, "model")) or ""
        prefix, slash, rest = written.partition("/")
        given = self._file.text(member(params, "custom_llm_provider"))
        if given is not None:
            prefix, slash, rest = given, "/", written.removeprefix(f"{given}/")
        if slash and (prefix in _LATER or (given is not None and prefix not in PREFIXES)):
            self._report.add(Fidelity.UNSUPPORTED, subject, f"the provider {prefix} is not supported yet", line=line)
            return None
        if slash and prefix in PREFIXES:
            provider = PREFIXES[prefix]
        else:
            provider, rest = ("anthropic" if written.startswith("claude") else "openAI"), written
        if not rest or not name:
            self._report.add(Fidelity.UNSUPPORTED, subject, "names no model", line=line)
            return None
        if (name.count("*") > 1) or ("*" in name and not (name.startswith("*") or name.endswith("*"))):
            what = "a name may have one `*`, at its beginning or its end"
            self._report.add(Fidelity.UNSUPPORTED, subject, what, line=line)
            return None
        if "*" not in rest:
            return _Model(provider, rest)
        if not slash:
            what = "every model goes to one provider, where LiteLLM looks for its name in front of the model's"
            self._report.add(Fidelity.APPROXIMATE, subject, what, line=line)
        if rest != name:
            what = f"the model goes on as the client names it, where LiteLLM makes it {rest}"
            fidelity = Fidelity.EXACT if name == "*" and rest == "*" else Fidelity.MANUAL
            self._report.add(fidelity, subject, what, line=line)
        return _Model(provider, None)

    def _key(self, params: Mapping, name: str) -> str | None:
        node = member(params, "api_key")
        text = self._file.text(node)
        if node is None or text is None or not text:
            return None
        if _VARIABLE.fullmatch(text) is None:
            what = "the key is written out here, and in the new file: a variable would keep it out of both"
            self._report.add(Fidelity.EXACT, f"model_list: {name}: api_key", what, line=self._file.line(node))
        return escaped(text)

    def _has_place(self, params: Mapping, name: str) -> bool:
        """Whether its address can be said here. Without it, its key would go to the provider's own address."""
        node = member(params, "api_base") or member(params, "base_url")
        text = self._file.text(node)
        if node is None or text is None or not ("?" in text or "@" in text):
            return True
        what = "the model is left out: a baseUrl has no query and no credential"
        self._report.add(Fidelity.MANUAL, f"model_list: {name}: api_base", what, line=self._file.line(node))
        return False

    def _base(self, params: Mapping, name: str) -> str | None:
        node = member(params, "api_base") or member(params, "base_url")
        text = self._file.text(node)
        if node is None or text is None or not text:
            return None
        base = text.rstrip("/")
        prefix = (self._file.text(member(params, "model")) or "").partition("/")[0]
        if prefix in AT_ROOT and not base.endswith("/v1"):
            if _VARIABLE.fullmatch(base):
                what = "the variable has to hold the address with /v1 behind it"
                self._report.add(Fidelity.MANUAL, f"model_list: {name}: api_base", what, line=self._file.line(node))
            else:
                base += "/v1"
        return escaped(base)

    def _headers(self, params: Mapping) -> dict[str, Any] | None:
        written = member(params, "extra_headers")
        headers = self._value(written) if isinstance(written, Mapping) else {}
        organization = self._file.text(member(params, "organization"))
        if organization:
            headers = {"OpenAI-Organization": escaped(organization), **headers}
        return {"set": {key: str(value) for key, value in headers.items()}} if headers else None

    # Numbers

    def _number(self, entry: Node, params: Mapping, key: str) -> int | None:
        """Of the deployment's parameters; older files have rpm and tpm beside them."""
        node = member(params, key) or member(entry, key)
        value = plain_value(node) if isinstance(node, Scalar) else None
        return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def _weight(self, params: Mapping, name: str, line: int) -> int:
        """Of shares such as 0.9, whole numbers in the same proportion."""
        node = member(params, "weight")
        value = plain_value(node) if isinstance(node, Scalar) else 1
        if isinstance(value, int):
            return value
        if isinstance(value, float):
            return round(value * 1000)
        self._report.add(Fidelity.MANUAL, f"model_list: {name}: weight", "is no number", line=line)
        return 1

    # The rest

    def _others(self, entry: Node, params: Mapping, name: str) -> None:
        for key, each in params.entries.items():
            if key in _READ or key in _BODY:
                continue
            what = _MANUAL.get(key)
            fidelity = Fidelity.MANUAL if what is not None else Fidelity.UNSUPPORTED
            self._report.add(
                fidelity, f"model_list: {name}: {key}", what or "has no counterpart", line=self._file.line(each.key)
            )
        assert isinstance(entry, Mapping)
        for key, each in entry.entries.items():
            if key == "model_info":
                what = "left out: it tells LiteLLM's own lists and costs of the model"
                self._report.add(
                    Fidelity.APPROXIMATE, f"model_list: {name}: {key}", what, line=self._file.line(each.key)
                )
            elif key not in ("model_name", "litellm_params", "rpm", "tpm"):
                self._report.add(
                    Fidelity.UNSUPPORTED,
                    f"model_list: {name}: {key}",
                    "has no counterpart",
                    line=self._file.line(each.key),
                )

    def _value(self, node: Node | None) -> Any:
        match node:
            case Mapping(entries=entries):
                return {key: self._value(entry.value) for key, entry in entries.items()}
            case Sequence():
                return [self._value(each) for each in node.items]
            case Scalar():
                value = plain_value(node)
                return escaped(value) if isinstance(value, str) else value
            case None:
                return None


def plain_value(node: Scalar) -> str | int | float | bool | None:
    return core_value(node)


def escaped(text: str) -> str:
    """LiteLLM's variable as ours; a dollar sign that would begin one doubled."""
    found = _VARIABLE.fullmatch(text)
    return f"${found[1]}" if found else _REFERENCE.sub("$$", text)
