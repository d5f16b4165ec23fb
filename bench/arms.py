"""The arms of a measurement: each gateway as its makers would set it up for one core, with a credential to set.

All of them pool their connections to the provider. Those that can write an access log do so, to a file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from bench.servers import Provider, Server, free_port, nginx, running

PATH = "/v1/chat/completions"
KEY = "sk-bench"
_ENVOY_API = "type.googleapis.com/envoy.extensions"


class Arm(Enum):
    """What the load goes through. PLAIN is Torana as it is from source: not compiled."""

    DIRECT = "direct"
    NGINX = "nginx"
    HAPROXY = "haproxy"
    ENVOY = "envoy"
    TORANA = "torana"
    PLAIN = "plain"
    PORTKEY = "portkey"
    LITELLM = "litellm"


PROXIES = (Arm.NGINX, Arm.HAPROXY, Arm.ENVOY, Arm.TORANA)
"""Those that carry thousands of streams on one core; the others are measured with fewer."""


class Programs(NamedTuple):
    """The command of each arm that can be had, and that of the stream source."""

    commands: dict[Arm, list[str]]
    source: str


class Setting(NamedTuple):
    """How an arm is set up: for which provider, with so many routes before the one that is asked, on which cores."""

    folder: Path
    provider: Provider
    cores: str
    routes: int = 1
    workers: int = 1


Command = tuple[list[str], dict[str, str]]


def headers(arm: Arm, provider: Provider) -> dict[str, str]:
    """What clients of an arm have to send beside the request itself."""
    if arm is not Arm.PORTKEY:
        return {}
    return {
        "authorization": f"Bearer {KEY}",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"{provider.origin}/v1",
    }


@contextmanager
def started(arm: Arm, programs: Programs, setting: Setting) -> Iterator[Server]:
    """The arm, listening or about to. DIRECT is the provider itself."""
    if arm is Arm.DIRECT:
        yield Server(setting.provider.port)
        return
    port = free_port()
    command, environment = _BUILDERS[arm](programs.commands[arm], setting, port)
    log = setting.folder / f"{arm.value}-{port}.out"
    with running(command, setting.cores, log, environment) as pid:
        yield Server(port, pid)


def torana_config(setting: Setting, port: int, model: str = "configured") -> str:
    """Torana as it runs by default: model and credential configured; access log, metrics and usage are on."""
    to = setting.provider
    policies = f"urlRewrite: {{authority: {{full: '{to.host}:{to.port}'}}}}, backendAuth: {{key: {KEY}}}"
    if to.root:
        policies += f", backendTLS: {{root: '{to.root}'}}"
    backend = f"ai: {{name: bench, hostOverride: '{to.host}:{to.port}', provider: {{openAI: {{model: {model}}}}}}}"
    routes = "".join(
        f"    - {{matches: [{{path: {{pathPrefix: /team-{number}}}}}], policies: {{{policies}}},"
        f" backends: [{{{backend}}}]}}\n"
        for number in range(1, setting.routes)
    )
    return f"""
config:
  adminAddr: "off"
  statsAddr: "127.0.0.1:{free_port()}"
  readinessAddr: "off"
  workerThreads: {setting.workers}
binds:
- port: {port}
  listeners:
  - routes:
{routes}    - policies: {{{policies}}}
      backends: [{{{backend}}}]
"""


def torana_file(setting: Setting, port: int) -> Path:
    return setting.folder / f"torana-{port}.yaml"


def _torana(program: list[str], setting: Setting, port: int) -> Command:
    file = torana_file(setting, port)
    file.write_text(torana_config(setting, port))
    return [*program, "-f", str(file)], {}


def _nginx(_: list[str], setting: Setting, port: int) -> Command:
    to = setting.provider
    tls = ""
    if to.root:
        tls = f"proxy_ssl_verify on; proxy_ssl_trusted_certificate {to.root}; proxy_ssl_name {to.host};"
        tls += " proxy_ssl_server_name on;"
    target = f"""
        proxy_pass http{"s" if to.root else ""}://provider; {tls}
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Authorization "Bearer {KEY}";"""
    teams = "\n".join(f"location /team-{number}/ {{{target}}}" for number in range(1, setting.routes))
    name = f"nginx-{port}"
    http = f"""
    upstream provider {{ server 127.0.0.1:{to.port}; keepalive 2048; }}
    server {{
      listen 127.0.0.1:{port} backlog=4096;
      access_log {setting.folder}/{name}.log combined buffer=64k flush=1s;
      client_body_buffer_size 2m;
      client_max_body_size 0;
      proxy_buffers 16 4k;
      {teams}
      location / {{{target}}}
    }}"""
    return nginx(setting.folder, name, http), {}


def _haproxy(program: list[str], setting: Setting, port: int) -> Command:
    to = setting.provider
    tls = f" ssl verify required ca-file {to.root} verifyhost {to.host} sni str({to.host})" if to.root else ""
    # Many routes go into a map, which is a tree; a list of ACLs would be tried one by one.
    teams = setting.folder / f"haproxy-{port}.map"
    teams.write_text("".join(f"/team-{number}/ provider\n" for number in range(1, setting.routes)))
    routing = f"  use_backend %[path,map_beg({teams},provider)]" if setting.routes > 1 else ""
    config = setting.folder / f"haproxy-{port}.cfg"
    # Its log goes to stdout, a file here.
    config.write_text(f"""
global
  nbthread 1
  maxconn 8192
  log stdout format raw local0 info
defaults
  mode http
  log global
  option httplog
  option http-no-delay
  http-reuse always
  timeout connect 5s
  timeout client 120s
  timeout server 120s
frontend clients
  bind 127.0.0.1:{port} backlog 4096
{routing}
  default_backend provider
backend provider
  http-request set-header authorization "Bearer {KEY}"
  server provider 127.0.0.1:{to.port}{tls}
""")
    return [*program, "-f", str(config)], {}


def _envoy(program: list[str], setting: Setting, port: int) -> Command:
    to = setting.provider
    at = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": to.port}}}
    cluster: dict[str, object] = {
        "name": "provider",
        "type": "STATIC",
        "circuit_breakers": {
            "thresholds": [
                {"max_connections": 16384, "max_pending_requests": 16384, "max_requests": 16384},
            ]
        },
        "load_assignment": {"cluster_name": "provider", "endpoints": [{"lb_endpoints": [{"endpoint": at}]}]},
    }
    if to.root:
        trusted = {"trusted_ca": {"filename": str(to.root)}}
        cluster["transport_socket"] = {
            "name": "tls",
            "typed_config": {
                "@type": f"{_ENVOY_API}.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": to.host,
                "auto_sni_san_validation": True,
                "common_tls_context": {"validation_context": trusted},
            },
        }
    config = setting.folder / f"envoy-{port}.json"
    config.write_text(
        json.dumps({"static_resources": {"listeners": [_envoy_listener(setting, port)], "clusters": [cluster]}})
    )
    options = ("--concurrency", "1", "--disable-hot-restart", "--log-level", "warn")
    return [*program, "-c", str(config), *options], {}


def _envoy_listener(setting: Setting, port: int) -> dict[str, object]:
    prefixes = [f"/team-{number}/" for number in range(1, setting.routes)]
    credential = {"header": {"key": "authorization", "value": f"Bearer {KEY}"}}
    manager = {
        "@type": f"{_ENVOY_API}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "access_log": [
            {
                "name": "file",
                "typed_config": {
                    "@type": f"{_ENVOY_API}.access_loggers.file.v3.FileAccessLog",
                    "path": f"{setting.folder}/envoy-{port}.log",
                },
            }
        ],
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{_ENVOY_API}.filters.http.router.v3.Router"}},
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "request_headers_to_add": [credential | {"append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
                    "routes": [
                        {"match": {"prefix": prefix}, "route": {"cluster": "provider", "timeout": "120s"}}
                        for prefix in [*prefixes, "/"]
                    ],
                }
            ]
        },
    }
    return {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


def _portkey(program: list[str], setting: Setting, port: int) -> Command:
    root = setting.provider.root
    return [*program, f"--port={port}", "--headless"], {"NODE_EXTRA_CA_CERTS": str(root)} if root else {}


def _litellm(program: list[str], setting: Setting, port: int) -> Command:
    to = setting.provider
    config = setting.folder / f"litellm-{port}.yaml"
    config.write_text(f"""
model_list:
- model_name: asked-for
  litellm_params: {{model: openai/configured, api_base: "{to.origin}/v1", api_key: {KEY}}}
general_settings: {{dangerously_permit_weak_or_unset_master_key: true}}
""")
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_TELEMETRY": "False"}
    if to.root:
        environment["SSL_CERT_FILE"] = str(to.root)
    options = ("--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1")
    return [*program, *options], environment


_BUILDERS: dict[Arm, Callable[[list[str], Setting, int], Command]] = {
    Arm.NGINX: _nginx,
    Arm.HAPROXY: _haproxy,
    Arm.ENVOY: _envoy,
    Arm.TORANA: _torana,
    Arm.PLAIN: _torana,
    Arm.PORTKEY: _portkey,
    Arm.LITELLM: _litellm,
}
