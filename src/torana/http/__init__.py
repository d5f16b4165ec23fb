"""HTTP/1.1 and TLS over asyncio: what travels, and the two ends of it.

The nouns: a `Head` (of a request or an answer) and its `Fields`; a `Body`, which one parser feeds and one consumer
takes; a `Server` with its `ServerConnection`s downstream; an `UpstreamConnection`, made by `dial` and kept by a `Pool`
upstream; a `Sweep`, the one coarse timer both ends are watched by. llhttp (through httptools) decides what is HTTP;
what it lets pass and RFC 9112 forbids is refused in `request`. Nothing here knows routes, models or policies.
"""
