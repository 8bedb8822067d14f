"""Tasks, one file each."""

from structpred.tasks.chunking import Conll2000
from structpred.tasks.cmudict import Cmudict
from structpred.tasks.conll import Conll
from structpred.tasks.conllu import Conllu
from structpred.tasks.entities import Conll2002, NcbiDisease, Wnut17
from structpred.tasks.inflection import Inflection
from structpred.tasks.json_lines import JsonLines
from structpred.tasks.letter_tagging import LetterTagging
from structpred.tasks.letters import Letters
from structpred.tasks.multi30k import Multi30k, Multi30kRaw
from structpred.tasks.parallel import Parallel
from structpred.tasks.pronunciation import Pronunciation
from structpred.tasks.sigmorphon import Sigmorphon2017, Sigmorphon2020, Sigmorphon2021
from structpred.tasks.slots import Slots
from structpred.tasks.snips import Snips
from structpred.tasks.synthetic import HiddenMarkov, SpellingVariants
from structpred.tasks.tatoeba import Tatoeba
from structpred.tasks.timit import Timit
from structpred.tasks.treebank import EnglishWebTreebank
from structpred.tasks.tsv import Tsv

__all__ = [
    "Cmudict",
    "Conll",
    "Conll2000",
    "Conll2002",
    "Conllu",
    "EnglishWebTreebank",
    "HiddenMarkov",
    "Inflection",
    "JsonLines",
    "LetterTagging",
    "Letters",
    "Multi30k",
    "Multi30kRaw",
    "NcbiDisease",
    "Parallel",
    "Pronunciation",
    "Sigmorphon2017",
    "Sigmorphon2020",
    "Sigmorphon2021",
    "Slots",
    "Snips",
    "SpellingVariants",
    "Tatoeba",
    "Timit",
    "Tsv",
    "Wnut17",
]
