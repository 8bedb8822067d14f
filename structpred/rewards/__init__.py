"""Rewards: one number per candidate, higher is better."""

from structpred.rewards.base import Reward
from structpred.rewards.bleu import SentenceBleu
from structpred.rewards.edit_distance import EditDistance
from structpred.rewards.function import FunctionReward
from structpred.rewards.gleu import SentenceGleu
from structpred.rewards.hamming import Hamming

__all__ = [
    "EditDistance",
    "FunctionReward",
    "Hamming",
    "Reward",
    "SentenceBleu",
    "SentenceGleu",
]
