"""Slot tagging of commands: words and tags in line-parallel files."""

from dataclasses import dataclass
from typing import ClassVar

from structpred.config import Count
from structpred.errors import DataError
from structpred.metrics import Accuracy, ChunkF1, ConllevalF1, Metric
from structpred.reading import Line, read_lines
from structpred.registry import tasks
from structpred.task import Example, Splits, Task
from structpred.tasks.held_out import warn_of_new_labels, warn_of_shared
from structpred.tasks.reading import place_of, sentence_of, splits_of, tags_of
from structpred.tasks.schemes import Scheme, to_iob2
from structpred.vocabulary import Symbols


@tasks.register("slots")
@dataclass(frozen=True, kw_only=True)
class Slots(Task):
    """Words and slot tags from folders that hold ``seq.in`` and ``seq.out``: a line each, words or tags between spaces.

    A third file, ``label``, names the intent of each line and is not read.

    Attributes:
        train, dev, test: paths of folders. Variables and ``~`` are expanded when they are read, so that a saved
            experiment may say ``$STRUCTPRED_DATA/…`` and mean the same on every machine.
        scheme: how the files write slots; see `to_iob2`.
        longest: number of words a line may have.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (ChunkF1(), Accuracy(), ConllevalF1())

    train: str
    dev: str
    test: str
    scheme: Scheme = "iob2"
    longest: Count = 1000

    def load(self) -> Splits:
        """Read the files.

        Raises:
            DataError: a file cannot be read, or a line has more or fewer tags than words; the message names the file
                and the line.
        """
        train, dev, test = map(self.examples, (self.train, self.dev, self.test))
        splits = splits_of(train=train, dev=dev, test=test)
        warn_of_shared(splits, "sentences")
        warn_of_new_labels(splits)
        return splits

    def examples(self, folder: str) -> list[Example]:
        """The lines of one folder.

        Raises:
            DataError: as `load` does.
        """
        place = place_of(folder)
        words, tags = (
            [(line, f"{place.name}/{where}") for line, where in read_lines(place / name)]
            for name in ("seq.in", "seq.out")
        )
        if len(words) != len(tags):
            raise DataError(
                f"seq.in and seq.out in {place} must have as many lines, but they have {len(words)} and {len(tags)}; "
                "pair them anew"
            )
        return [self._example(*lines) for lines in zip(words, tags, strict=True)]

    def _example(self, words: Line, tags: Line) -> Example:
        source, labels = (tuple(filter(None, line.split(" "))) for line, _ in (words, tags))
        where = words[1]
        if not source or len(source) > self.longest:
            raise DataError(
                f"{where} must have 1 to {self.longest} words, but it has {len(source)}; split it or remove it"
            )
        if len(source) != len(labels):
            raise DataError(
                f"{tags[1]} must have {len(source)} tags, one for each word of {where}, but it has {len(labels)}; pair "
                "the files anew"
            )

        def place(position: int) -> str:
            return f"{tags[1]}, word {position + 1}"

        return Example(source, (to_iob2(tags_of(labels, place), self.scheme, place),), where)

    def parse(self, text: str) -> Symbols:
        """Words separated by spaces.

        Raises:
            DataError: there is none, or there are more than ``longest``.
        """
        return sentence_of(text, self.longest)

    def render(self, output: Symbols) -> str:
        """Tags in IOB2, separated by spaces."""
        return " ".join(output)
