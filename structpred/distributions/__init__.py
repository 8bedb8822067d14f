"""Distributions over label sequences, and their verbs."""

from structpred.distributions.factorised import Factorised

__all__ = ["Factorised"]
