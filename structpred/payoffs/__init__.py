"""Payoff distributions: q(y|y*) around a reference."""

from structpred.payoffs.base import Payoff
from structpred.payoffs.edit_distance import EditDistancePayoff
from structpred.payoffs.hamming import HammingPayoff
from structpred.payoffs.published import PublishedEditDistancePayoff
from structpred.payoffs.temperature import Temperature

__all__ = ["EditDistancePayoff", "HammingPayoff", "Payoff", "PublishedEditDistancePayoff", "Temperature"]
