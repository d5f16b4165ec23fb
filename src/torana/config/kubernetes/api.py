"""Api: the few calls of the Kubernetes API that cluster mode makes, on objects as plain decoded JSON.

lightkube finds and reads the kubeconfig or the service account, and checks certificates. Its own list and watch are not
used: they ask for no bookmarks, and hand out models where `translate` wants the object as it is.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import msgspec
import yaml
from lightkube.config.client_adapter import AsyncClient, ConnectionParams, ExecAuth
from lightkube.config.kubeconfig import DEFAULT_KUBECONFIG, SERVICE_ACCOUNT, KubeConfig
from lightkube.core.exceptions import ConfigError as KubeconfigError

from torana.config.kubernetes.nesting import decoded
from torana.config.kubernetes.plugin import Plugin
from torana.config.kubernetes.token_file import TokenFile

_PAGE = 500  # objects a page of a list; client-go's own number
_CALL_TIMEOUT = 10.0
_WATCH_SECONDS = (300, 600)  # the server ends a watch after so long; at random, so that not all end together
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_SILENCE = 120.0  # seconds; a bookmark comes about every minute, so a watch that is longer silent is dead

_REASONS = {0: "unreachable", 401: "unauthorized", 403: "forbidden"}

Json = dict[str, Any]


class Resource(NamedTuple):
    """A collection of the API. `version` is the one in the URL, and `fields` a field selector for lists and watches.

    `page` is how many objects are listed at once.
    """

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    fields: str = ""
    page: int = _PAGE

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def rule(self, *verbs: str) -> str:
        """The rule of a Role that grants `verbs`, as it is written in YAML."""
        group = self.group or '""'
        return f"{{apiGroups: [{group}], resources: [{self.plural}], verbs: [{', '.join(verbs)}]}}"

    def path(self, namespace: str = "", name: str = "") -> str:
        """Without a namespace it is all of them."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        return "/" + "/".join([*parts, self.plural, *([name] if name else [])])


class ApiError(Exception):
    """The API server refused, or could not be reached: then `code` is 0."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def reason(self) -> str:
        """A word for labels."""
        return _REASONS.get(self.code, "refused")


class ClusterError(Exception):
    """No way into a cluster was found; the text is for the user."""


class Page(NamedTuple):
    items: list[Json]
    version: str
    """The resourceVersion to watch from, which is that of all pages."""


class Event(NamedTuple):
    kind: str
    object: Json


class _Line(msgspec.Struct):
    type: str
    object: Json


class Api:
    """A connection to one cluster, as one user. `namespace` is the one of the kubeconfig's context, or of the pod."""

    def __init__(self, kubeconfig: Path | None = None, context: str | None = None) -> None:
        """From the given kubeconfig, or else KUBECONFIG, the pod's service account, the home folder.

        Raises ClusterError.
        """
        named = kubeconfig or os.environ.get("KUBECONFIG")
        where = named or f"{DEFAULT_KUBECONFIG}, $KUBECONFIG, {SERVICE_ACCOUNT}"
        try:
            found = KubeConfig.from_file(named) if named else KubeConfig.from_env(SERVICE_ACCOUNT)
            config = found.get(context)
            if config is None:
                raise ClusterError(f"the kubeconfig has no context {context or 'that is current'!r}")
            self.namespace: str = config.namespace
            self._client: httpx2.AsyncClient = AsyncClient(
                config, ConnectionParams(timeout=httpx2.Timeout(_CALL_TIMEOUT))
            )
            user = config.user
            if user is not None and user.token_file is not None:
                self._client.auth = TokenFile(Path(config.abs_file(user.token_file)))
            elif user is not None and user.exec is not None and isinstance(self._client.auth, ExecAuth):
                self._client.auth = Plugin(user.exec)
        except (KubeconfigError, OSError, ValueError, KeyError) as error:
            raise ClusterError(f"no way into a cluster ({where}): {error}") from error
        except (yaml.YAMLError, AttributeError, TypeError, AssertionError) as error:
            # The text of a YAML error quotes lines, and one of them may be a token's.
            raise ClusterError(f"no way into a cluster ({where}): this is no kubeconfig") from error

    async def close(self) -> None:
        await self._client.aclose()

    async def pages(self, resource: Resource) -> AsyncIterator[Page]:
        """All of it. Raises ApiError; its code is 410 when the pages expired meanwhile."""
        parameters = {"limit": str(resource.page), **_selected(resource)}
        while True:
            answer = await self._call("GET", resource.path(), parameters=parameters)
            metadata = answer.get("metadata", {})
            yield Page(answer.get("items") or [], metadata.get("resourceVersion", ""))
            if not metadata.get("continue"):
                return
            parameters["continue"] = metadata["continue"]

    @asynccontextmanager
    async def watch(self, resource: Resource, version: str) -> AsyncIterator[AsyncIterator[Event]]:
        """Within it the server has accepted the watch; the events end when it ends it. Raises ApiError."""
        parameters = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(random.randint(*_WATCH_SECONDS)),  # noqa: S311 - no secret
            **_selected(resource),
        }
        timeout = httpx2.Timeout(_CALL_TIMEOUT, read=_SILENCE)
        with _answered():
            async with self._client.stream("GET", resource.path(), params=parameters, timeout=timeout) as answer:
                if answer.is_error:
                    await answer.aread()
                _check(answer)
                yield _events(answer)

    async def serves(self, resource: Resource) -> bool:
        """Whether there is such a kind, which every user may ask. Raises ApiError."""
        try:
            answer = await self._call("GET", resource.path().removesuffix(f"/{resource.plural}"))
        except ApiError as error:
            if error.code == 404:
                return False
            raise
        return any(entry.get("name") == resource.plural for entry in answer.get("resources") or [])

    async def get(self, resource: Resource, namespace: str, name: str) -> Json:
        """Raises ApiError."""
        return await self._call("GET", resource.path(namespace, name))

    async def metadata(self, resource: Resource, name: str) -> Json:
        """The metadata alone of one of the cluster's own objects, however large it is. Raises ApiError."""
        answer = await self._call("GET", resource.path(name=name), headers={"Accept": _METADATA})
        return answer.get("metadata") or {}

    async def create(self, resource: Resource, namespace: str, body: Json) -> Json:
        """Raises ApiError; its code is 409 when it is there already."""
        return await self._call("POST", resource.path(namespace), body=body)

    async def replace(self, resource: Resource, namespace: str, name: str, body: Json) -> Json:
        """Raises ApiError; its code is 409 when it has changed since it was read."""
        return await self._call("PUT", resource.path(namespace, name), body=body)

    async def patch_status(self, resource: Resource, namespace: str, name: str, body: Json) -> Json:
        """A JSON merge patch. Raises ApiError; its code is 409 when `body` names an older resourceVersion."""
        return await self._call(
            "PATCH",
            resource.path(namespace, name) + "/status",
            body=body,
            headers={"Content-Type": "application/merge-patch+json"},
        )

    async def _call(
        self,
        method: str,
        path: str,
        *,
        parameters: dict[str, str] | None = None,
        body: Json | None = None,
        headers: dict[str, str] | None = None,
    ) -> Json:
        content = None if body is None else msgspec.json.encode(body)
        if headers is None and body is not None:
            headers = {"Content-Type": "application/json"}
        with _answered():
            answer = await self._client.request(method, path, params=parameters, content=content, headers=headers)
            _check(answer)
            return decoded(answer.content, Json)


async def _events(answer: httpx2.Response) -> AsyncIterator[Event]:
    async for text in _lines(answer):
        line = decoded(text, _Line)
        if line.type == "ERROR":
            raise ApiError(int(line.object.get("code", 500)), str(line.object.get("message", "the watch failed")))
        yield Event(line.type, line.object)


async def _lines(answer: httpx2.Response) -> AsyncIterator[bytes]:
    """httpx2's own end at U+0085 too, which JSON has as it is: a text with one would stop the watch of its kind."""
    rest = b""
    async for piece in answer.aiter_bytes():
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line
    if rest:
        yield rest


def _selected(resource: Resource) -> dict[str, str]:
    return {"fieldSelector": resource.fields} if resource.fields else {}


def _check(answer: httpx2.Response) -> None:
    """A refusal is a Status object, as a rule; something in between may answer with anything."""
    if not answer.is_error:
        return
    try:
        message = str(msgspec.json.decode(answer.content, type=Json).get("message", ""))
    except msgspec.DecodeError:
        message = ""
    raise ApiError(answer.status_code, message or f"the API server answered {answer.status_code}")


@contextmanager
def _answered() -> Iterator[None]:
    """Whatever keeps an answer away is an ApiError: one that is not caught would end the following of the cluster.

    lightkube reads the credentials, or asks a plugin for them, at each call: that fails in as many ways as there are.
    """
    try:
        yield
    except httpx2.LocalProtocolError as error:
        # Its text quotes the header that cannot be sent: the one with the token.
        raise ApiError(0, "the request cannot be sent: is there a line break in the token?") from error
    except httpx2.HTTPError as error:
        raise ApiError(0, f"the API server cannot be reached: {str(error) or type(error).__name__}") from error
    except msgspec.MsgspecError as error:
        raise ApiError(0, f"the API server's answer cannot be read: {error}") from error
    except (KubeconfigError, OSError, ValueError, KeyError) as error:
        raise ApiError(0, f"no credentials for the API server: {type(error).__name__}: {error}") from error
