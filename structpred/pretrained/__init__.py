"""Pretrained models, as input encoders and as models.

Everything except static vectors needs the extra ``pretrained``, which is imported only when it is used.
"""

from structpred.pretrained.encoder import PretrainedEncoder
from structpred.pretrained.folder import ModelFolder
from structpred.pretrained.seq2seq import PretrainedSeq2Seq
from structpred.pretrained.vectors import Vectors

__all__ = ["ModelFolder", "PretrainedEncoder", "PretrainedSeq2Seq", "Vectors"]
