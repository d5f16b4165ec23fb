"""What a user may write, as records; one file a family. Each record names the fields of its API, and nothing else.

A field that is known and not supported here is of type `NotYet`, `Refused` or `Declined`, so that it can be told from
a slip.
"""
