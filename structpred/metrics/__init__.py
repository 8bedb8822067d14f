"""Metrics: per-example counts first, one number second, and a signature that says how it was computed."""

from structpred.metrics.base import Counts, Metric, counts, score
from structpred.metrics.edits import SymbolErrorRate, WordErrorRate, closest
from structpred.metrics.tags import Accuracy, ChunkF1, chunks

__all__ = [
    "Accuracy",
    "ChunkF1",
    "Counts",
    "Metric",
    "SymbolErrorRate",
    "WordErrorRate",
    "chunks",
    "closest",
    "counts",
    "score",
]
