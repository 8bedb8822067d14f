"""Payoff distributions: q(y|y*) around a reference."""

from structpred.payoffs.base import Payoff, Temperature
from structpred.payoffs.base_measures import AroundPayoff, BaseMeasure, NGramReplacement, Substitution
from structpred.payoffs.edit_distance import EditDistancePayoff
from structpred.payoffs.hamming import HammingPayoff
from structpred.payoffs.published import PublishedEditDistancePayoff
from structpred.payoffs.reweighted import ReweightedPayoff

__all__ = [
    "AroundPayoff",
    "BaseMeasure",
    "EditDistancePayoff",
    "HammingPayoff",
    "NGramReplacement",
    "Payoff",
    "PublishedEditDistancePayoff",
    "ReweightedPayoff",
    "Substitution",
    "Temperature",
]
