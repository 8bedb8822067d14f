"""Distributions over label sequences, and their verbs."""
