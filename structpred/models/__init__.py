"""Models: from inputs to a distribution over outputs."""

from structpred.models.base import Model
from structpred.models.frames import BitImages, FrameFeatures
from structpred.models.inputs import Featurizer, SymbolEmbedding
from structpred.models.seq2seq import Seq2Seq
from structpred.models.taggers import CRF, LSTMTagger
from structpred.models.words import CharacterCNN, Spelling, WordEmbedding

__all__ = [
    "CRF",
    "BitImages",
    "CharacterCNN",
    "Featurizer",
    "FrameFeatures",
    "LSTMTagger",
    "Model",
    "Seq2Seq",
    "Spelling",
    "SymbolEmbedding",
    "WordEmbedding",
]
