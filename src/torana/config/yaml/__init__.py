"""YAML read so that every value knows its line: text, nodes, and the problems found in them. Both dialects use it."""
