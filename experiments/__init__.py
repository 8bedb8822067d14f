"""Experiments: one module a question asked."""
