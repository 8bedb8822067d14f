"""Chunking: the phrases of English newspaper text, from the shared task of CoNLL-2000."""

from dataclasses import dataclass, replace
from typing import ClassVar

from structpred.downloads import DataSet, Published
from structpred.metrics import Accuracy, ChunkF1, ConllevalF1, Metric
from structpred.registry import tasks
from structpred.task import Splits, Task
from structpred.tasks.checksums import SHA256
from structpred.tasks.conll import Conll
from structpred.tasks.published import github
from structpred.vocabulary import Symbols

_DEFAULT = "$STRUCTPRED_DATA/conll2000"
_ARCHIVE = github("nltk/nltk_data", "5db857e", "packages/corpora/conll2000.zip")


@tasks.register("conll-2000")
@dataclass(frozen=True, kw_only=True)
class Conll2000(Task):
    """Words to phrase tags: 8,936 and 2,012 sentences of the Wall Street Journal (Tjong Kim Sang and Buchholz 2000).

    The last tenth of the training sentences is dev. Words only: the part-of-speech column is not read. The files are
    those of the shared task, as NLTK gives them out.

    Attributes:
        folder: a folder of one's own that holds ``train.txt.gz`` and ``test.txt.gz``; variables are expanded when it
            is read. At the default they may also be downloaded.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (ChunkF1(), Accuracy(), ConllevalF1())

    origin: ClassVar[DataSet] = DataSet(
        title="CoNLL-2000 chunking",
        folder="conll2000",
        licence="none stated; text of the Wall Street Journal: for research only",
        citation="Tjong Kim Sang, Buchholz: Introduction to the CoNLL-2000 Shared Task: Chunking. CoNLL 2000",
        restricted=True,
        files={
            name: Published(_ARCHIVE, SHA256.get(f"conll2000/{name}"), member=f"conll2000/{name}")
            for name in ("train.txt", "test.txt")
        },
    )

    folder: str = _DEFAULT

    def load(self) -> Splits:
        """Read the files.

        Raises:
            DataError: they are not there and cannot be downloaded, or are damaged.
        """
        if self.folder == _DEFAULT:
            train, test = (str(self.origin.path(name)) for name in ("train.txt", "test.txt"))
            return replace(self._files(), train=train, test=test).load()
        self.origin.warn()
        return self._files().load()

    def parse(self, text: str) -> Symbols:
        """Words separated by spaces.

        Raises:
            DataError: there is none.
        """
        return self._files().parse(text)

    def render(self, output: Symbols) -> str:
        """Tags in IOB2, separated by spaces."""
        return self._files().render(output)

    def _files(self) -> Conll:
        # "#" is a word here, for the pound sign
        return Conll(train=f"{self.folder}/train.txt.gz", test=f"{self.folder}/test.txt.gz", comments=False)
