"""Tasks, one file each."""

from structpred.tasks.pronunciation import Pronunciation
from structpred.tasks.tsv import Tsv

__all__ = ["Pronunciation", "Tsv"]
