"""The standalone dialect: one YAML file, in agentgateway's `binds` form.

    text ─ expand ─► Source ─ nodes ─► Document ─ decode ─► schema.File ─ translate ─► model.Config

A Source is the text with its environment variables filled in, which still knows where every character came from. A
Document is that text as nodes with positions. The schema's records are what a user may write, and what the JSON Schema
and the reference page are made from. Findings are the problems met on the way, pointed at by key path.
"""
