"""Torana: the gateway between applications that speak OpenAI's API and every provider that does.

The nouns, from the client inwards: a Bind is a port; it has Listeners; a Listener has Routes; a Route matches requests,
applies Policies and picks a Backend; a Backend is a place upstream, with a Provider when it serves a language model.
All of them are compiled into one immutable Snapshot, which every request walks top to bottom as an Exchange.
"""

__version__ = "0.1.0"
