"""Everything that reads configuration; nothing here is consulted while a request is served.

A Problem is one fault of a configuration, with its place and what would be right; a ConfigError carries all of them.
A dialect (`standalone`: one YAML file; `kubernetes`: resources) translates what the user wrote into one `model.Config`;
what it hands to the process is a Loaded. `convert` turns one form of a configuration into another.
`resolve` holds the rules of where a backend is and how it is reached, because every dialect has to agree on them.
`pem`, `syntax` and `duration` hold what certificates, names and durations look like; `diff` says in words what a reload
changed.
"""
