"""Translations between API families, as pure functions: the client speaks one, the upstream another.

The nouns:

    Translation        one pair, named CLIENT_to_UPSTREAM: stateless, one object a pair
    TranslatedRequest  the request in the upstream's form, and the names of what that form has no place for (`lost`)
    StreamTranslation  one streamed answer, turned into the client's form while it arrives
"""
