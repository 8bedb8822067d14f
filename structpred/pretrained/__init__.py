"""Models that others have trained, as input encoders and as models; needs the extra ``pretrained``."""

from structpred.pretrained.encoder import PretrainedEncoder
from structpred.pretrained.folder import ModelFolder
from structpred.pretrained.seq2seq import PretrainedSeq2Seq
from structpred.pretrained.vectors import Vectors

__all__ = ["ModelFolder", "PretrainedEncoder", "PretrainedSeq2Seq", "Vectors"]
