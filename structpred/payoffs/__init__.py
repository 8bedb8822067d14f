"""Payoff distributions: q(y|y*) around a reference."""
