"""A deterministic OpenAI-compatible server, for trying out, demonstrations and tests: `torana simulate`.

The nouns, in the order a request meets them:

    Journal   the last requests, for a test to look up what arrived
    Dials     how this one answer is to behave: pace, faults, variants; from the command line, headers, the model's name
    Ask       what the request wants, decoded
    Answer    what is said: pieces of text or of a tool call, a finish reason and the tokens counted
    Script    the answer in wire form: one body, or events with the moment each is due
    Stage     where a script is performed on a connection, faults included
    ApiError  an error in OpenAI's form: asked for by a dial, or what is wrong with the request

The same request gets the same answer, byte for byte, on every machine; only its pace is measured in time.
"""
