"""Rewards: one number per candidate, higher is better."""

from structpred.rewards.base import Reward
from structpred.rewards.bleu import SentenceBleu, SentenceGleu
from structpred.rewards.constant import ConstantReward
from structpred.rewards.edit_distance import EditDistance
from structpred.rewards.every_reference import EveryReference
from structpred.rewards.function import FunctionReward
from structpred.rewards.hamming import Hamming
from structpred.rewards.reading import Context, TextReward, bind
from structpred.rewards.translation import SentenceChrf, SentenceTer, TextBleu
from structpred.rewards.weighted import WeightedReward, WeightedRewards

__all__ = [
    "ConstantReward",
    "Context",
    "EditDistance",
    "EveryReference",
    "FunctionReward",
    "Hamming",
    "Reward",
    "SentenceBleu",
    "SentenceChrf",
    "SentenceGleu",
    "SentenceTer",
    "TextBleu",
    "TextReward",
    "WeightedReward",
    "WeightedRewards",
    "bind",
]
