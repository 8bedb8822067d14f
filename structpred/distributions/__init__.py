"""Distributions over label sequences, and their verbs."""

from structpred.distributions.autoregressive import Autoregressive
from structpred.distributions.factorised import Factorised

__all__ = ["Autoregressive", "Factorised"]
