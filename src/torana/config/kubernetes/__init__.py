"""The Kubernetes dialect: Gateway API resources, and the Backends they refer to.

    manifest files ─ manifests ─┐
                                ├─► Objects ─ translate ─► Translation: Config, Statuses, Problems
    a cluster's API ─ cluster  ─┘

An Object is one resource as its author wrote it, with its Place when it came from a file. A Resource is that object's
`spec` as a typed record, read strictly. An Attachment is a route at a listener that takes it, with the hostnames both
have. A Draft is a place upstream before a route says what it gets; a backend has them in groups, by priority. A Status
is what the object's `.status` ought to say; who writes it, and when, is not known here.

`translate` and everything below it is pure: no I/O, no clock, and the order of the objects does not matter. An object
that is wrong never stops the others.
"""
