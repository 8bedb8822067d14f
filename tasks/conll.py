"""Sentences with chunk tags from files of columns, as the shared tasks of CoNLL write them."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from structpred.config import Count
from structpred.errors import DataError
from structpred.metrics import Accuracy, ChunkF1, ConllevalF1, Metric
from structpred.reading import Encoding
from structpred.registry import tasks
from structpred.task import Example, Splits, Task
from structpred.tasks.columns import Columns, Row
from structpred.tasks.held_out import warn_of_new_labels, warn_of_shared
from structpred.tasks.reading import place_of, sentence_of, splits_of, tags_of
from structpred.tasks.schemes import Scheme, from_iob2, is_tag, to_iob2
from structpred.vocabulary import Symbols


class CommentWarning(UserWarning):
    """Lines of a file may be comments or words."""


@tasks.register("conll")
@dataclass(frozen=True, kw_only=True)
class Conll(Task):
    """Words and chunk tags from files of columns, plain or packed by gzip; see `Columns` for what a file looks like.

    Tags become IOB2, so that labels and scores do not depend on how a file writes its chunks.

    Attributes:
        train, test: paths. Variables and ``~`` are expanded when they are read, so that a saved experiment may say
            ``$STRUCTPRED_DATA/…`` and mean the same on every machine.
        dev: the same, or None to hold out the last tenth of the training sentences.
        word, label: the columns of a word and of its tag, from 0, or from −1 at the end backwards.
        scheme: how the files write chunks; see `to_iob2`.
        comments: pass over comments: lines that begin with # in front of a sentence and have more or fewer columns
            than the others. False where there are none.
        hash_lines: what such a line is that has as many columns as the others, between spaces: ``"words"`` or
            ``"comments"``. None takes it for a word if it has a tag, and warns.
        longest: number of words a sentence may have.
        encoding: how the files' bytes stand for characters.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (ChunkF1(), Accuracy(), ConllevalF1())
    additions: ClassVar[tuple[str, ...]] = ("encoding", "hash_lines")

    train: str
    dev: str | None = None
    test: str
    word: int = 0
    label: int = -1
    scheme: Scheme = "iob2"
    comments: bool = True
    longest: Count = 1000
    encoding: Encoding = "utf-8"
    hash_lines: Literal["words", "comments"] | None = None

    def load(self) -> Splits:
        """Read the files.

        Raises:
            DataError: a file cannot be read, a line or a tag is not what it must be, or there is too little to hold
                some out; the message names the file and the line.
        """
        splits = self._splits()
        warn_of_shared(splits, "sentences")
        warn_of_new_labels(splits)
        return splits

    def _splits(self) -> Splits:
        train, test = self.examples(self.train), self.examples(self.test)
        if self.dev is not None:
            return splits_of(train=train, dev=self.examples(self.dev), test=test)
        held_out = len(train) // 10
        if not held_out:
            raise DataError(
                f"{self.train} must have at least 10 sentences, so that a tenth can be held out for dev, but it has "
                f"{len(train)}; name a file for dev"
            )
        return splits_of(train=train[:-held_out], dev=train[-held_out:], test=test)

    def examples(self, path: str) -> list[Example]:
        """The sentences of one file.

        Raises:
            DataError: as `load` does.
        """
        file = self._file(path)
        if file.doubtful and self.hash_lines is None:
            _warn_of_doubtful(file)
        examples = []
        for words, labels, lines in zip(file.column(self.word), self._labels(file), file.sentences, strict=True):
            if len(words) > self.longest:
                raise DataError(
                    f"{file.where(lines[0])}: a sentence must have at most {self.longest} words, but here begins one "
                    f"of {len(words)}; end sentences with a blank line or raise Conll.longest"
                )
            examples.append(Example(words, (labels,), file.where(lines[0])))
        return examples

    def written(self, path: str, outputs: Sequence[Symbols]) -> bytes:
        """A file with other tags: those that differ are written in the file's scheme, all else stays as it is.

        Args:
            path: the file that the sentences come from.
            outputs: tags in IOB2, sentence by sentence.

        Raises:
            DataError: as `load` does, or there are more or fewer tags than words.
        """
        file = self._file(path)
        lengths = [len(sentence) for sentence in file.sentences]
        if [len(output) for output in outputs] != lengths:
            raise DataError(
                f"{path}: expected tags for its {len(lengths)} sentences, one a word and in their order, but got "
                f"{len(outputs)} outputs, or some of another length; predict the tags of this very file"
            )
        pairs = zip(self._labels(file), outputs, strict=True)
        return file.replaced(
            self.label, [None if labels == output else from_iob2(output, self.scheme) for labels, output in pairs]
        )

    def _file(self, path: str) -> Columns:
        comments = self._is_comment if self.comments else False
        return Columns.read(place_of(path), comments=comments, encoding=self.encoding)

    def _is_comment(self, row: Row) -> bool:
        """Whether a line with # in front and as many columns as the others is one."""
        if self.hash_lines is not None:
            return self.hash_lines == "comments"
        within = -len(row) <= self.label < len(row)
        return within and not is_tag(row[self.label], self.scheme)

    def _labels(self, file: Columns) -> list[Symbols]:
        def place(lines: tuple[int, ...], position: int) -> str:
            return file.where(lines[position])

        tagged = zip(file.column(self.label), file.sentences, strict=True)
        places = [(tags, partial(place, lines)) for tags, lines in tagged]
        return [to_iob2(tags_of(tags, where), self.scheme, where) for tags, where in places]

    def parse(self, text: str) -> Symbols:
        """Words separated by spaces.

        Raises:
            DataError: there is none, or there are more than ``longest``.
        """
        return sentence_of(text, self.longest)

    def render(self, output: Symbols) -> str:
        """Tags in IOB2, separated by spaces."""
        return " ".join(output)


def _warn_of_doubtful(file: Columns) -> None:
    read = {number for sentence in file.sentences for number in sentence}
    words = len(read.intersection(file.doubtful))
    warnings.warn(
        f"{file.where(file.doubtful[0])}: {len(file.doubtful)} lines in front of sentences begin with # and have as "
        f"many columns as the others, so that they may be words or comments: {words} with a tag are read as words, "
        f"{len(file.doubtful) - words} without are passed over; set Conll.hash_lines to 'words' or 'comments'",
        CommentWarning,
        stacklevel=2,
    )
