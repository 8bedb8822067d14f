"""Metrics: statistics of each example first, one number second, and a signature that says how it was computed."""

from structpred.metrics.base import Counts, Metric, OfUnknown, Ratio, Totals, counts, score
from structpred.metrics.edits import SER, SigmorphonErrorRate, SymbolErrorRate, WordErrorRate, closest
from structpred.metrics.tags import Accuracy, ChunkF1, ConllevalF1, UnknownAccuracy, chunks, conlleval_chunks
from structpred.metrics.translation import Bleu, Chrf

__all__ = [
    "SER",
    "Accuracy",
    "Bleu",
    "Chrf",
    "ChunkF1",
    "ConllevalF1",
    "Counts",
    "Metric",
    "OfUnknown",
    "Ratio",
    "SigmorphonErrorRate",
    "SymbolErrorRate",
    "Totals",
    "UnknownAccuracy",
    "WordErrorRate",
    "chunks",
    "closest",
    "conlleval_chunks",
    "counts",
    "score",
]
