"""The line a request travels: match, policies, backend, answer, account.

The nouns: a `Snapshot` is a Config compiled for speed, with a `CompiledRoute` for each route and an `Upstream` for each
backend; `Gateway` walks it, once per request, top to bottom. `Runtime` is what outlives snapshots: the connections and
what was learned of each endpoint.
"""
