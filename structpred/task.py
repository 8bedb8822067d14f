"""What a task is: examples with references, split, and the metrics that score predictions."""

import re
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from structpred.blame import blaming
from structpred.config import Config
from structpred.foreign import is_foreign, modules_of
from structpred.metrics import Metric
from structpred.reading import noting_files
from structpred.registry import tasks
from structpred.returned import described, refuse
from structpred.sequences import Recording, Source, spelt
from structpred.vocabulary import Symbols


@dataclass(frozen=True)
class Wording:
    """How metrics see an example whose symbols are pieces of words.

    Attributes:
        references: the right outputs in words, as they were written.
        words: makes words of an output's pieces.
    """

    references: tuple[Symbols, ...]
    words: Callable[[Symbols], Symbols] = field(compare=False, repr=False)


@dataclass(frozen=True)
class Example:
    """One input and the outputs that are right for it.

    Attributes:
        source: the input: symbols, or a recording for models that take one.
        references: one or more right outputs. Training draws one of them each epoch; scoring takes the closest.
        where: where it was read, such as ``"fre_dev.tsv line 17"``, for messages.
        unknown: for each position whether its word is new, for metrics of those; empty where the task does not say.
        metadata: what else the task knows of it, by name, for rewards that ask; part of the digest of the data.
        wording: what metrics compare in place of symbols, where these are pieces of words; None for symbols.
    """

    # Users make these, and `loaded` says in words what is wrong, so run-time checks in tests leave them alone.
    __no_type_check__: ClassVar[bool] = True

    source: Source
    references: tuple[Symbols, ...]
    where: str
    unknown: tuple[bool, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict, hash=False)
    wording: Wording | None = None


@dataclass(frozen=True)
class Splits:
    """The examples of a task.

    Attributes:
        train, dev, test: the parts; ``dev`` chooses the checkpoint, ``test`` is scored once at the end.
        digest: SHA-256 of the data actually read; part of every run's identity.
        kept: files by name that `Task.parse` and `Task.render` need besides the task's fields, because they were learnt
            from the training data. A run keeps them, and gives them back by `Task.with_kept`.
        files: by path the SHA-256 of the files that were read, as far as that is known; `loaded` adds those that
            `structpred.reading` has read.
    """

    # Users make these, and `loaded` says in words what is wrong, so run-time checks in tests leave them alone.
    __no_type_check__: ClassVar[bool] = True

    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: tuple[Example, ...]
    digest: str
    kept: Mapping[str, bytes] = field(default_factory=dict, hash=False, repr=False)
    files: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Sizes:
    """What models and objectives must know of the training data before they can be built.

    Attributes:
        num_inputs: number of distinct input symbols.
        num_labels: V, number of distinct output labels.
        label_counts: occurrences of each label in the training references.
        references: number of training references; each has one end.
        characters: number of distinct characters that input symbols are spelt with.
        columns: of input symbols that have several columns, how many distinct symbols each column has, and how many
            distinct characters they are spelt with.
        symbols: digest of all vocabularies, so that a trained network can be refused where symbols differ.
        label_symbols: digest of the labels alone, for whoever takes over outputs and no inputs.
    """

    num_inputs: int
    num_labels: int
    label_counts: tuple[int, ...]
    references: int
    characters: int = 0
    symbols: str = ""
    label_symbols: str = ""
    columns: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Task(Config):
    """Data and how it is scored. Work happens in `load`; the constructor touches no file.

    Attributes:
        metrics: how predictions are scored; the first one chooses the checkpoint.
    """

    family = tasks
    metrics: ClassVar[tuple[Metric, ...]]

    def code(self) -> tuple[type, ...]:
        """The task's class and those of its metrics, which decide what its scores mean."""
        return (*super().code(), *map(type, self.metrics))

    @property
    def terms(self) -> str:
        """The terms under which its examples may be given away; empty where they may not be, or nothing is known."""
        return ""

    @abstractmethod
    def load(self) -> Splits:
        """Read the data.

        Raises:
            DataError: a file is missing or malformed; the message names the file and the line.
        """

    @abstractmethod
    def parse(self, text: str) -> Source:
        """The input of one line of text, for predictions on new inputs."""

    @abstractmethod
    def render(self, output: Symbols) -> str:
        """Output symbols as one line of text, the way the task's own files write them."""

    def show(self, source: Source) -> str:
        """An input as one line of text, for people."""
        return " ".join(spelt(source))

    def with_kept(self, read: Callable[[str], bytes]) -> "Task":
        """The same task, which takes what it learnt from its training data from files that a run has kept.

        Args:
            read: the content of a file, by a name in `Splits.kept`; called when it is needed.
        """
        del read
        return self


def loaded(task: Task) -> Splits:
    """What `Task.load` reads, once it is sure that it is what it should be.

    Raises:
        DataError: a file is missing or malformed.
        ConfigError: the task returns something else than splits of examples.
        CodeError: the task is not the package's own and raised an exception.
    """
    with blaming(modules_of([type(task)])), noting_files() as files:
        found: object = task.load()
    what = f"{type(task).__name__}.load"
    if not isinstance(found, Splits):
        refuse(what, "Splits", described(found), "return Splits(train, dev, test, digest)")
    if not isinstance(found.digest, str) or not found.digest:
        refuse(f"{what}, digest,", "text that tells these data from others", described(found.digest), "hash the files")
    if not isinstance(found.kept, Mapping) or not all(_file(*each) for each in found.kept.items()):
        refuse(f"{what}, kept,", "bytes by file name", described(found.kept), "write bytes under names without a path")
    for split in ("train", "dev", "test"):
        for number, example in enumerate(getattr(found, split), start=1):
            if not isinstance(example, Example) or not _whole(example):
                expected = "an Example of symbols, which are str, with at least one reference"
                refuse(f"{what}, {split},", expected, f"{described(example)} as number {number}", "correct it")
            if not isinstance(example.metadata, Mapping):
                found_here = f"one with {described(example.metadata)} as number {number}"
                refuse(f"{what}, {split},", "examples with metadata by name", found_here, "make it a dictionary")
            if not isinstance(example.wording, Wording | None):
                found_here = f"{described(example.wording)} as number {number}"
                refuse(f"{what}, {split}, wording,", "a Wording or None", found_here, "correct it")
    return replace(found, files={**{str(path): digest for path, digest in files.items()}, **found.files})


def refuse_empty(splits: Splits, task: Task) -> None:
    """Refuse data on which no model can be trained, chosen and tested; an environment needs one split alone.

    Raises:
        ConfigError: a split has no example.
    """
    for split in ("train", "dev", "test"):
        if not getattr(splits, split):
            advice = "set some aside: dev chooses the weights, and test is scored"
            refuse(f"{type(task).__name__}.load, {split},", "at least one example", "none", advice)


def parsed(task: Task, text: str) -> Source:
    """`Task.parse`, checked; a list of symbols becomes a tuple.

    Raises:
        DataError: the text is no input of this task.
        ConfigError: the task makes something else of it than symbols or a recording.
        CodeError: the task is not the package's own and raised an exception.
    """
    with blaming(modules_of([type(task)])):
        found: object = task.parse(text)
    source = tuple(found) if isinstance(found, list) else found
    if not isinstance(source, Recording) and not _symbols(source):
        refuse(f"{type(task).__name__}.parse", "symbols, a tuple of str", described(found), "correct it")
    return source  # type: ignore[return-value]  # it is one of the two


def rendered(task: Task, output: Symbols) -> str:
    """`Task.render`, checked.

    Raises:
        ConfigError: the task makes no text of it.
        CodeError: the task is not the package's own and raised an exception.
    """
    if not is_foreign(type(task)):  # rewards of text ask for every candidate of every step
        return task.render(output)
    with blaming(modules_of([type(task)])):
        found: object = task.render(output)
    return _text(f"{type(task).__name__}.render", found)


def shown(task: Task, source: Source) -> str:
    """`Task.show`, checked; it raises what `rendered` does."""
    with blaming(modules_of([type(task)])):
        found: object = task.show(source)
    return _text(f"{type(task).__name__}.show", found)


def _text(what: str, found: object) -> str:
    if not isinstance(found, str):
        refuse(what, "text", described(found), "join the symbols")
    assert isinstance(found, str)
    return found


def _whole(example: Example) -> bool:
    spelt_out = isinstance(example.source, Recording) or _symbols(example.source)
    return spelt_out and bool(example.references) and all(map(_symbols, example.references))


def _file(name: object, content: object) -> bool:
    return isinstance(name, str) and re.fullmatch(r"[\w.-]+", name) is not None and isinstance(content, bytes)


def _symbols(found: object) -> bool:
    return isinstance(found, tuple) and all(isinstance(symbol, str) for symbol in found)
