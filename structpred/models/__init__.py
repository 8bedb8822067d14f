"""Models: from inputs to a distribution over outputs."""

from structpred.models.base import Featurizer, Model, SymbolEmbedding
from structpred.models.beside import Beside
from structpred.models.column import Column
from structpred.models.inputs import BitImages, CharacterCNN, FrameFeatures, Spelling, WordEmbedding
from structpred.models.seq2seq import Seq2Seq
from structpred.models.taggers import CRF, LSTMTagger
from structpred.models.transformer import Transformer

__all__ = [
    "CRF",
    "Beside",
    "BitImages",
    "CharacterCNN",
    "Column",
    "Featurizer",
    "FrameFeatures",
    "LSTMTagger",
    "Model",
    "Seq2Seq",
    "Spelling",
    "SymbolEmbedding",
    "Transformer",
    "WordEmbedding",
]
