"""Moving in and out: other forms of a configuration read and written, as texts.

A `Report` says of everything that was read how well it came across: exact, approximate, manual, unsupported. A
`WrittenFile` is a text of the user with its variables and comments as they stand there. An `Original` is a
configuration compiled with its variables still in it, so that no value of theirs is in what is made of it.

    migrate    the `binds` form  ->  `llm`, and `gateways` + `routes` for what that cannot say; from node to node
    import     LiteLLM's proxy configuration  ->  `llm`
    export     any configuration  ->  LiteLLM, agentgateway's `binds`, Kubernetes' manifests; from the compiled Config
"""
