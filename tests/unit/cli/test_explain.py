"""`torana explain`: what would happen to a request, without sending it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from torana.cli.main import app

CONFIG = """\
binds:
- port: 3000
  listeners:
  - name: main
    routes:
    - name: chat
      hostnames: [gateway.example, localhost]
      matches:
      - path: {pathPrefix: /v1}
        method: POST
        headers: [{name: x-team, value: {exact: red}}]
        query: [{name: v, value: {regex: "[0-9]"}}]
      - path: {pathPrefix: /v1}
      policies:
        backendTLS: {hostname: sni.example}
        backendAuth: {key: sk-configured}
        timeout: {requestTimeout: 5s}
        requestHeaderModifier: {remove: [x-team], set: {X-Added: yes it is}}
      backends:
      - ai: {name: it, hostOverride: "api.example:8443", provider: {openAI: {model: m1}}}
    - name: free
      matches: [{path: {pathPrefix: /free}}]
      backends:
      - ai: {name: any, hostOverride: "127.0.0.1:9000", pathPrefix: /api/v1, provider: {openAI: {}}}
    - name: slip
      matches: [{path: {exact: /slip}}]
      backends: [{host: "a.example:443"}]
    - name: split
      matches: [{path: {exact: /split}}]
      backends: [{host: "a.example:80", weight: 9}, {host: "b.example:81"}, {host: "c.example:82", weight: 0}]
    - name: old
      matches: [{path: {pathPrefix: /old}}]
      policies: {requestRedirect: {scheme: https, path: {prefix: /new}, status: 301}}
    - name: ping
      matches: [{path: {regex: /pi.g}}]
      policies: {directResponse: {status: 299, body: pong, headers: {x-a: "1"}}}
    - name: signed
      matches: [{path: {pathPrefix: /signed}}]
      policies:
        cors: {allowOrigins: ["https://a.example"]}
        responseHeaderModifier: {set: {x-by: torana}, add: {set-cookie: canary-cookie}, remove: [x-a]}
        directResponse: {status: 200, headers: {x-a: "1", x-api-key: canary-key}}
      backends: [{host: "a.example:80"}]
    - name: mixed
      matches: [{path: {pathPrefix: /mixed}}]
      backends:
      - ai: {name: free, hostOverride: "a.example:80", provider: {openAI: {}}}
      - ai: {name: fixed, hostOverride: "b.example:80", provider: {openAI: {model: m}}}
    - name: none
      matches: [{path: {exact: /none}}]
      backends: [{host: "a.example:80", weight: 0}]
- port: 3001
  listeners:
  - {name: own, hostname: own.example, routes: []}
"""
CHAT = "http://localhost:3000/v1/chat/completions"
BODY = '{"model": "asked", "messages": []}'


def explained(url: str, *words: str, code: int = 0) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["explain", "-c", CONFIG, url, *words, "--json"])
    assert done.exit_code == code, done.output
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def shown(url: str, *words: str, code: int = 0) -> list[str]:
    """The lines of the text form, with single spaces."""
    done = CliRunner().invoke(app, ["explain", "-c", CONFIG, url, *words])
    assert done.exit_code == code, done.output
    return [" ".join(line.split()) for line in done.stdout.splitlines()]


def test_everything_about_a_call() -> None:
    """For a call: listener, route and why, policies, where it goes and how, and what the upstream would see."""
    words = ["-d", BODY, "-H", "X-Team: red", "-H", "Accept: */*", "-H", "Authorization: Bearer sk-mine"]
    assert explained(CHAT + "?v=1", *words) == {
        "request": "POST /v1/chat/completions",
        "port": 3000,
        "listener": "main",
        "route": "chat",
        "because": [
            "path fits pathPrefix /v1",
            "method is POST",
            "header x-team is red",
            "query parameter v fits [0-9]",
            "host is one of gateway.example, localhost",
        ],
        "policies": ["request_headers", "timeout"],
        "backends": [
            {
                "backend": "it",
                "connect": "api.example:8443",
                "tls": "yes, SNI sni.example, certificate for sni.example from the system roots",
                "method": "POST",
                "path": "/v1/chat/completions?v=1",
                "host": "api.example:8443",
                "headers": [
                    "host: api.example:8443",
                    "authorization: Bearer ***",
                    "Accept: */*",
                    "X-Added: yes it is",
                ],
                "provider": "openai",
                "operation": "chat",
                "model": "m1",
                "model from": "the configuration",
                "stream": False,
                "weight": 1,
            }
        ],
    }


def test_text_says_the_same() -> None:
    """The text form has what the JSON form has, one fact a line."""
    lines = shown(CHAT, "-d", '{"stream": true}')
    for line in (
        "request POST /v1/chat/completions",
        "route chat",
        "path fits pathPrefix /v1",
        "connect api.example:8443",
        "authorization: Bearer ***",
        "X-Added: yes it is",
        "model m1",
        "model from the configuration",
        "stream yes",
    ):
        assert line in lines


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (["-d", BODY], {"model": "asked", "model from": "the request", "stream": False, "operation": "chat"}),
        (["-d", BODY.replace("[]", '[], "stream": true')], {"model": "asked", "stream": True}),
        (["-d", BODY], {"path": "/api/v1/chat/completions", "tls": "no", "host": "127.0.0.1:9000"}),
        (["-d", BODY, "-X", "put"], {"method": "PUT"}),
    ],
)
def test_facts_of_a_call(words: list[str], facts: dict[str, Any]) -> None:
    """Model, stream, path and method are those the gateway would send."""
    (backend,) = explained("http://localhost:3000/free/v1/chat/completions", *words)["backends"]
    assert {name: backend[name] for name in facts} == facts


def test_a_request_without_a_body() -> None:
    """Without -d the method is GET, and no model is spoken of."""
    (backend,) = explained("http://localhost:3000/v1/models")["backends"]
    assert (backend["method"], backend["operation"]) == ("GET", "models")
    assert "model" not in backend


def test_body_from_a_file(tmp_path: Path) -> None:
    """`-d @FILE` reads the body from a file; one that is not there exits 1 and is named."""
    file = tmp_path / "body.json"
    file.write_text(BODY)
    (backend,) = explained("http://localhost:3000/free/v1/chat/completions", "-d", f"@{file}")["backends"]
    assert backend["model"] == "asked"
    done = CliRunner().invoke(app, ["explain", "-c", CONFIG, CHAT, "-d", f"@{file}.not"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert "body.json.not: cannot be read" in done.stderr


def test_weights() -> None:
    """All backends that may be picked are told, with their weights."""
    backends = explained("http://localhost:3000/split")["backends"]
    assert [(backend["connect"], backend["weight"]) for backend in backends] == [
        ("a.example:80", 9),
        ("b.example:81", 1),
    ]


def test_a_slip() -> None:
    """Port 443 in plaintext is told as the slip it likely is."""
    (backend,) = explained("http://localhost:3000/slip")["backends"]
    assert "port 443 is reached in plaintext" in backend["warning"]


@pytest.mark.parametrize(
    ("url", "words", "reply"),
    [
        (
            "http://localhost:3000/old/a?b=1",
            [],
            {"status": 301, "headers": ["location: https://localhost/new/a?b=1"], "body": ""},
        ),
        (
            "http://localhost:3000/old",
            ["-H", "Host: other.example:3000"],
            {"status": 301, "headers": ["location: https://other.example/new"], "body": ""},
        ),
        (
            "http://localhost:3000/ping",
            [],
            {"status": 299, "headers": ["x-a: 1", "content-type: text/plain; charset=utf-8"], "body": "pong"},
        ),
    ],
)
def test_replies(url: str, words: list[str], reply: dict[str, Any]) -> None:
    """What a policy would answer is told, and no backend."""
    found = explained(url, *words)
    assert found["reply"] == reply
    assert "backends" not in found


def test_a_reply_as_text() -> None:
    """The text form tells a reply too."""
    lines = shown("http://localhost:3000/ping")
    assert {"route ping", "path fits regex /pi.g", "status 299", "x-a: 1", "body pong"} <= {*lines}


@pytest.mark.parametrize(
    ("url", "words", "status", "message"),
    [
        ("http://localhost:3000/nowhere", [], 404, "No route matches GET /nowhere for the host localhost:3000"),
        ("http://localhost:3001/", [], 404, "No listener on port 3001 takes the host localhost:3001"),
        ("http://own.example:3001/", [], 404, "No route matches GET / for the host own.example:3001"),
        ("http://localhost/v1", [], None, "nothing listens on port 80; configured: 3000, 3001"),
        ("https://localhost/v1", [], None, "nothing listens on port 443; configured: 3000, 3001"),
        ("http://localhost:3000/none", [], 500, "the route none has no backend with a weight above 0"),
        (CHAT, ["-d", "{"], 400, "JSON"),
        ("http://localhost:3000/free/v1/chat/completions", ["-d", "{}"], 400, "model"),
    ],
)
def test_refusals(url: str, words: list[str], status: int | None, message: str) -> None:
    """What the gateway would refuse exits 1, with the status and the message of its answer, in both forms."""
    error = explained(url, *words, code=1)["error"]
    assert error["status"] == status
    assert message in error["message"]
    assert any(message in line for line in shown(url, *words, code=1))


@pytest.mark.parametrize(
    ("url", "words", "status", "message"),
    [
        ("http://localhost:3000/v1/models", ["-X", "CONNECT"], 405, "CONNECT is not served by this gateway."),
        ("http://localhost:3000/v1/models", ["-X", "FOO"], 400, "Invalid method"),
        ("http://localhost:3000/v1/mod\u00e8les", [], 400, "Invalid char in url path"),
        ("http://localhost:3000/v1/a b", [], 400, "not valid HTTP/1.1"),
        ("http://localhost:3000/v1/models", ["-H", "x a: 1"], 400, "Invalid header token"),
        ("http://localhost:3000/v1/models", ["-H", "expect: tea"], 417, "expectation"),
        ("http://localhost:3000/v1/models?key=canary", ["-H", "host: a/b"], 400, "the Host field is not a host"),
    ],
)
def test_what_is_no_request(url: str, words: list[str], status: int, message: str) -> None:
    """What the gateway would not read as a request is refused as it would refuse it, and no query is shown."""
    found = explained(url, *words, code=1)
    assert found["error"]["status"] == status
    assert message in found["error"]["message"]
    assert "canary" not in str(found)


def test_a_header_is_one_line() -> None:
    """A header with a line break would be two, and is a wrong use."""
    done = CliRunner().invoke(app, ["explain", "-c", CONFIG, CHAT, "-H", "x: 1\r\nhost: b.example"])
    assert done.exit_code == 2


def test_what_is_known_comes_before_the_error() -> None:
    """An error ends no explanation: listener, route, target, TLS, path and host are told first."""
    url = "http://localhost:3000/free/v1/chat/completions"
    found = explained(url, "-d", "{}", code=1)
    assert (found["listener"], found["route"]) == ("main", "free")
    (backend,) = found["backends"]
    told = {name: backend[name] for name in ("connect", "tls", "path", "host", "operation")}
    assert told == {
        "connect": "127.0.0.1:9000", "tls": "no", "path": "/api/v1/chat/completions", "host": "127.0.0.1:9000",
        "operation": "chat",
    }  # fmt: skip
    assert [*found][-1] == "error"
    lines = shown(url, "-d", "{}", code=1)
    assert lines.index("error") > lines.index("host 127.0.0.1:9000")


def test_an_error_of_one_backend() -> None:
    """Where one of several backends would be refused, the others are told whole."""
    found = explained("http://localhost:3000/mixed/v1/chat/completions", "-d", "{}", code=1)
    assert [backend.get("model") for backend in found["backends"]] == [None, "m"]
    assert (found["error"]["status"], found["error"]["backend"]) == (400, "free")


def test_the_listener_of_no_route() -> None:
    """A request that no route takes is told its listener."""
    assert explained("http://localhost:3000/nowhere", code=1)["listener"] == "main"
    assert "listener" not in explained("http://localhost:3001/", code=1)


def test_response_policies_of_a_reply() -> None:
    """A local reply is told as the response policies leave it, its credentials masked."""
    found = explained("http://localhost:3000/signed", "-H", "Origin: https://a.example")
    headers = found["reply"]["headers"]
    assert {"x-by: torana", "x-api-key: ***", "set-cookie: ***"} <= {*headers}
    assert "access-control-allow-origin: https://a.example" in headers
    assert not any(line.startswith("x-a:") for line in headers)
    assert "canary" not in json.dumps(found)


def test_resolve_has_no_case() -> None:
    """`--resolve` finds a host of the configuration however it is written."""
    (backend,) = explained(CHAT, "-d", BODY, "--resolve", "API.Example:8443:127.0.0.1:99")["backends"]
    assert "127.0.0.1:99" in backend["connect"]


def test_a_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy that would be gone through is told, without its credentials; `--resolve` goes past it."""
    monkeypatch.setenv("https_proxy", "http://user:canary@proxy.example:3128")
    (backend,) = explained(CHAT, "-d", BODY)["backends"]
    assert backend["via"] == "proxy proxy.example:3128"
    (backend,) = explained(CHAT, "-d", BODY, "--resolve", "api.example:8443:127.0.0.1:99")["backends"]
    assert "via" not in backend


def test_resolve() -> None:
    """`--resolve` is told beside the place it stands for."""
    (backend,) = explained(CHAT, "-d", BODY, "--resolve", "api.example:8443:127.0.0.1:99")["backends"]
    assert backend["connect"] == "api.example:8443 (at 127.0.0.1:99 by --resolve)"
    assert backend["host"] == "api.example:8443"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://user:canary-pw@localhost:3000/free?", "/free"),
        ("http://localhost:3000/free#part", "/free"),
        ("HTTP://localhost:3000/free?a=%2F", "/free?a=%2F"),
        ("http://[::1]:3000/free", "/free"),
    ],
)
def test_urls(url: str, path: str) -> None:
    """Of a URL go on what a client would send: no user, no fragment."""
    found = explained(url)
    assert found["backends"][0]["path"] == path
    assert "canary" not in json.dumps(found)


# secrets

SECRET = "canary-5ecret"
_PLACES = {
    "key": f"key: {SECRET}",
    "header": f"key: {{value: {SECRET}, location: {{header: {{name: X-Odd}}}}}}",
    "prefix": f'key: {{value: {SECRET}, location: {{header: {{name: X-Odd, prefix: "Odd "}}}}}}',
    "query": f"key: {{value: {SECRET}, location: {{queryParameter: {{name: odd}}}}}}",
    "cookie": f"key: {{value: {SECRET}, location: {{cookie: {{name: odd}}}}}}",
    "passthrough": "passthrough: {}",
}
_CLIENTS = [
    "Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key", "api-key", "X-Goog-Api-Key", "X-Auth-Token",
    "Ocp-Apim-Subscription-Key", "X-Amz-Security-Token", "x-client-secret", "X-Password", "X-Auth",
]  # fmt: skip


@pytest.mark.parametrize("form", [[], ["--json"]])
@pytest.mark.parametrize("place", _PLACES)
def test_secrets_are_masked(place: str, form: list[str]) -> None:
    """No credential is shown: the configuration's wherever it goes, the client's in headers, cookies and query."""
    config = f"""\
binds:
- port: 3000
  listeners:
  - routes:
    - matches: [{{headers: [{{name: x-api-key, value: {{exact: {SECRET}}}}}]}}]
      policies: {{backendAuth: {{{_PLACES[place]}}}}}
      backends: [{{ai: {{name: it, hostOverride: "a.example:80", provider: {{openAI: {{}}}}}}}}]
"""
    words = [word for name in _CLIENTS for word in ("-H", f"{name}: {SECRET}")]
    url = f"http://localhost:3000/v1/chat/completions?a=shown&odd={SECRET * (place == 'query')}&api%5Fkey={SECRET}"
    done = CliRunner().invoke(app, ["explain", "-c", config, url, "-d", BODY, *words, *form])
    assert done.exit_code == 0, done.output
    assert SECRET not in done.output
    assert "5ecret" not in done.output
    assert "***" in done.output
    assert "a=shown" in done.output


_MODELS = """
llm:
  models:
  - {name: a, provider: openAI, params: {model: theirs, apiKey: k}}
  - {name: "b*", provider: groq, params: {apiKey: k}}
  - {name: hidden, visibility: internal, provider: ollama}
  virtualModels:
  - name: v
    routing: {conditional: {targets: [{model: a, when: llmRequest.stream}, {model: hidden}]}}
"""


@pytest.mark.parametrize(
    ("body", "because", "facts"),
    [
        ({"model": "a"}, "model a fits a", {"backend": "a", "model": "theirs", "connect": "api.openai.com:443"}),
        (
            {"model": "bcd"},
            "model bcd fits b*",
            {"backend": "b*", "model": "bcd", "path": "/openai/v1/chat/completions"},
        ),
        ({"model": "v", "stream": True}, "model v fits v", {"backend": "a", "model": "theirs"}),
        ({"model": "v"}, "model v fits v", {"backend": "hidden", "model": "hidden", "tls": "no"}),
    ],
)
def test_the_model_says_where_it_goes(body: dict[str, Any], because: str, facts: dict[str, Any]) -> None:
    """With `llm` the call goes where its model is, and that is one of the reasons."""
    url, data = "http://localhost:4000/v1/chat/completions", json.dumps({"messages": [], **body})
    found = json.loads(CliRunner().invoke(app, ["explain", "-c", _MODELS, "--json", "-d", data, url]).stdout)
    assert found["because"][-1] == because
    (backend,) = found["backends"]
    assert {name: backend[name] for name in facts} == facts


def test_a_model_that_is_not_there() -> None:
    """A model that clients cannot have is an error that names others, as the gateway's is."""
    url, data = "http://localhost:4000/v1/chat/completions", '{"model": "hidden", "messages": []}'
    made = CliRunner().invoke(app, ["explain", "-c", _MODELS, "--json", "-d", data, url])
    error = json.loads(made.stdout)["error"]
    assert (made.exit_code, error["status"]) == (1, 404)
    assert "hidden" in error["message"]


def test_the_list_of_models() -> None:
    """The list of models is answered, and nobody is asked."""
    made = CliRunner().invoke(app, ["explain", "-c", _MODELS, "--json", "http://localhost:4000/v1/models"])
    listed = json.loads(json.loads(made.stdout)["reply"]["body"])
    assert [model["id"] for model in listed["data"]] == ["a", "b*", "v"]


def test_a_list_that_is_merged() -> None:
    """Of a list for several providers the models of the configuration are told, and who would be asked for others."""
    config = """
    routes:
    - matches: [{path: {exact: /models}}]
      policies: {ai: {routes: {/models: models}}}
      backends:
      - ai: {name: a, provider: {openAI: {model: gpt-4o}}}
      - ai:
          name: b
          hostOverride: "h:1"
          pathPrefix: /x/v1
          provider: {custom: {}}
          policies: {ai: {modelAliases: {fast: m, "x-*": n}}}
    gateways: {default: {port: 1}}
    """
    made = CliRunner().invoke(app, ["explain", "-c", config, "--json", "http://localhost:1/models"])
    assert made.exit_code == 0, made.output
    told = {"status": 200, "models": ["gpt-4o", "fast"], "asks": ["h:1 for /x/v1/models"]}
    assert json.loads(made.stdout)["reply"] == told


def test_the_routes_rules_say_what_it_is() -> None:
    """Where `ai.routes` calls a path `passthrough`, its body is not looked into."""
    config = "binds: [{port: 1, listeners: [{routes: [{backends: [{ai: {provider: {openAI: {model: m}}}}], policies: "
    config += '{ai: {routes: {/v1/chat/completions: passthrough, "*": completions}}}}]}]}]'
    url = "http://localhost:1/v1/chat/completions"
    made = CliRunner().invoke(app, ["explain", "-c", config, "--json", "-d", "no JSON", url])
    (backend,) = json.loads(made.stdout)["backends"]
    assert (made.exit_code, backend["operation"], "model" in backend) == (0, None, False)


def test_manifests_of_a_namespace(tmp_path: Path) -> None:
    """Objects without a namespace are read as of --namespace, and --class-name says which classes are ours."""
    file = tmp_path / "all.yaml"
    file.write_text("""
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: main}
spec: {gatewayClassName: mine, listeners: [{name: web, port: 8080, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: moved}
spec: {parentRefs: [{name: main}], rules: [{filters: [{type: RequestRedirect, requestRedirect: {port: 1}}]}]}
""")
    words = ["explain", "http://localhost:8080/", "--manifests", str(file), "--namespace", "chat", "--json"]
    found = json.loads(CliRunner().invoke(app, [*words, "--class-name", "mine"]).stdout)
    assert found["route"] == "chat/moved/0"
    found = json.loads(CliRunner().invoke(app, [*words, "--class-name", "other"]).stdout)
    assert "nothing listens" in found["error"]["message"]


EDITED = """\
binds:
- port: 3000
  listeners:
  - routes:
    - policies:
        ai:
          overrides: {safety_key: canary-override}
          defaults: {temperature: 0.25}
          prompts: {prepend: [{role: system, content: canary-prompt}]}
          modelAliases: {fast: real}
      backends:
      - ai: {name: it, provider: {anthropic: {}}, policies: {backendAuth: {key: canary-key}}}
"""


def test_edits_and_a_translation() -> None:
    """What changes in a body is told by its names, without the values; a translated call has its own path and head."""
    body = '{"model": "fast", "messages": [{"role": "user", "content": "hi"}], "seed": 1}'
    words = ["-c", EDITED, CHAT, "-d", body, "-H", "authorization: Bearer canary-client", "-H", "openai-beta: x"]
    done = CliRunner().invoke(app, ["explain", *words, "--json"])
    assert done.exit_code == 0, done.output
    assert "canary" not in done.output
    (told,) = json.loads(done.output)["backends"]
    assert told["edits"] == [
        "sets safety_key",
        "sets temperature where it is left out",
        "puts 1 message(s) before the client's",
        "has 1 alias(es) of models",
    ]
    assert (told["path"], told["translated to"], told["model"]) == ("/v1/messages", "messages", "real")
    assert "seed" in told["untranslated"]
    assert "anthropic-version: 2023-06-01" in told["headers"]
    assert not [line for line in told["headers"] if line.startswith(("openai", "authorization"))]
