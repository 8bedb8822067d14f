"""Models: from inputs to a distribution over outputs."""

from structpred.models.base import Model
from structpred.models.bits import BitImages
from structpred.models.crf import CRF
from structpred.models.inputs import InputEncoder, SymbolEmbedding
from structpred.models.lstm_tagger import LSTMTagger
from structpred.models.seq2seq import Seq2Seq
from structpred.models.spectra import FrameFeatures
from structpred.models.spelling import CharacterCNN, Spelling
from structpred.models.words import WordEmbedding

__all__ = [
    "CRF",
    "BitImages",
    "CharacterCNN",
    "FrameFeatures",
    "InputEncoder",
    "LSTMTagger",
    "Model",
    "Seq2Seq",
    "Spelling",
    "SymbolEmbedding",
    "WordEmbedding",
]
