"""Models that others have trained, as input encoders and as models; needs the extra ``pretrained``."""

from structpred.pretrained.folder import ModelFolder

__all__ = ["ModelFolder"]
