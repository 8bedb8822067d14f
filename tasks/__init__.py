"""Tasks, one file each."""

from structpred.tasks.chunking import Conll2000
from structpred.tasks.conll import Conll
from structpred.tasks.conllu import Conllu
from structpred.tasks.json_lines import JsonLines
from structpred.tasks.letter_tagging import LetterTagging
from structpred.tasks.parallel import Parallel
from structpred.tasks.pronunciation import Pronunciation
from structpred.tasks.slots import Slots
from structpred.tasks.tsv import Tsv

__all__ = [
    "Conll",
    "Conll2000",
    "Conllu",
    "JsonLines",
    "LetterTagging",
    "Parallel",
    "Pronunciation",
    "Slots",
    "Tsv",
]
