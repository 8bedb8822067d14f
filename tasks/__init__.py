"""Tasks, one file each."""

from structpred.tasks.chunking import Conll2000
from structpred.tasks.conll import Conll
from structpred.tasks.letter_tagging import LetterTagging
from structpred.tasks.pronunciation import Pronunciation
from structpred.tasks.tsv import Tsv

__all__ = ["Conll", "Conll2000", "LetterTagging", "Pronunciation", "Tsv"]
