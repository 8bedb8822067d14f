"""Distributions over label sequences, and their verbs."""

from structpred.distributions.autoregressive import Autoregressive
from structpred.distributions.factorised import Factorised
from structpred.distributions.linear_chain import LinearChain

__all__ = ["Autoregressive", "Factorised", "LinearChain"]
