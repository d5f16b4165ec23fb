"""The one language every dialect compiles to: frozen data, and nothing but data.

    Config > Bind (a port) > Listener (a hostname, TLS) > Route (matches, policies) > BackendRef (a weight) > Backend

A Backend is fully decided: where to connect, TLS or not, what Host, path, credential and model the upstream sees. No
dialect's rules are left in it, so the same provider written in two dialects compiles to equal values. The model imports
no other package of ours, holds no callables and does no I/O; `codec` turns it into JSON with the secrets masked, and
into bytes for worker processes with the secrets kept.
"""
