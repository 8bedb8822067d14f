"""The claims of the RML paper, each with a small experiment; docs/claims.md has expectations and answers."""
