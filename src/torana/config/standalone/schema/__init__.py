"""What a user may write, as records: decoding, the JSON Schema and the reference page all come from this description.

One file a level: `file` holds the top, `process` the settings of the process, `listeners` ports, listeners and routes,
`policies` what routes and backends do, `backends` the places upstream. Names, types and defaults are agentgateway's;
what it has and Torana has not is listed per record as `not_yet`, so that it is told apart from a misspelling.
"""
