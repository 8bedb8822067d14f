"""Models: from inputs to a distribution over outputs."""

from structpred.models.base import Model
from structpred.models.inputs import InputEncoder, SymbolEmbedding
from structpred.models.seq2seq import Seq2Seq

__all__ = ["InputEncoder", "Model", "Seq2Seq", "SymbolEmbedding"]
