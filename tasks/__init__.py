"""Tasks, one file each."""

from structpred.tasks.chunks import Conll2000, Conll2002, NcbiDisease, Slots, Snips, Wnut17
from structpred.tasks.json_lines import JsonLines
from structpred.tasks.letters import Letters, LetterTagging
from structpred.tasks.lexicon import Cmudict, Pronunciation
from structpred.tasks.morphology import Inflection, Sigmorphon2017, Sigmorphon2020, Sigmorphon2021
from structpred.tasks.pairs import Parallel, Tsv
from structpred.tasks.pretrained import PretrainedPieces
from structpred.tasks.speech import Timit
from structpred.tasks.subwords import Subwords
from structpred.tasks.synthetic import HiddenMarkov, SpellingVariants
from structpred.tasks.tagged import Conll
from structpred.tasks.translation import Multi30k, Multi30kRaw, Tatoeba
from structpred.tasks.treebank import Conllu, EnglishWebTreebank

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
    "PretrainedPieces",
    "Pronunciation",
    "Sigmorphon2017",
    "Sigmorphon2020",
    "Sigmorphon2021",
    "Slots",
    "Snips",
    "SpellingVariants",
    "Subwords",
    "Tatoeba",
    "Timit",
    "Tsv",
    "Wnut17",
]
