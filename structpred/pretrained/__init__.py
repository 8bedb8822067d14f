"""Models that others have trained, as input encoders and as models; needs the extra ``pretrained``."""

from structpred.pretrained.folder import ModelFolder
from structpred.pretrained.seq2seq import PretrainedSeq2Seq

__all__ = ["ModelFolder", "PretrainedSeq2Seq"]
