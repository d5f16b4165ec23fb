"""What is known about language-model APIs, as pure functions on bytes: no sockets, no clocks, no environment.

The nouns:

    Operation     what a request asks for: chat completions, embeddings, ... read from the end of its path
    Prepared      a request body ready for the upstream: the right model in it, every other byte the client's
    Answer        what a whole JSON answer tells: the model that answered and the Usage
    Usage         tokens in and out, in one meaning for all API families
    StreamReader  watches an SSE answer while it is passed on, and can hide the one event the gateway asked for
    ProviderFacts where a provider is reached when the configuration does not say, and what it serves

A byte that was not asked to change does not change.
"""
