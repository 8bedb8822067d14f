"""Payoff distributions: q(y|y*) around a reference."""

from structpred.payoffs.base import Payoff
from structpred.payoffs.base_measures import AroundPayoff, BaseMeasure, Substitution
from structpred.payoffs.edit_distance import EditDistancePayoff
from structpred.payoffs.hamming import HammingPayoff
from structpred.payoffs.ngram_replacement import NGramReplacement
from structpred.payoffs.published import PublishedEditDistancePayoff
from structpred.payoffs.reweighted import ReweightedPayoff
from structpred.payoffs.temperature import Temperature

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
