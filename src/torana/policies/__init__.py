"""What a route does to a request on its way: one file a policy, each compiled from its data in `model.policy`.

A request policy is a callable on the Exchange that may end it with a LocalReply. A response policy is a callable on the
Exchange and the answer's fields. Both run as flat tuples in the order of `order.Place`; a policy that is off is not in
them. A policy knows no other policy, keeps its state in the Exchange, and writes to no socket.

`url_rewrite` and `backend_auth` have no place in the chain: they say what the upstream sees, and are applied when the
upstream request is composed.
"""
