"""Published data sets: one table of all of them, the base of their tasks, and warnings about splits."""

import tomllib
import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from structpred.downloads import DataSet, Published
from structpred.sequences import Source
from structpred.task import Example, Splits, Task, loaded
from structpred.vocabulary import Symbols


class SharedInputWarning(UserWarning):
    """Inputs are in the training data and in held-out data."""


class NewLabelWarning(UserWarning):
    """Held-out data have labels that the training data lack."""


def warn_of_shared(splits: Splits, what: Literal["sources", "sentences"] = "sources") -> None:
    """One warning where inputs of the training data are also in dev or test, with their number."""
    sources = {example.source for example in splits.train}
    dev, test = ([e for e in split if e.source in sources] for split in (splits.dev, splits.test))
    if found := dev + test:
        warnings.warn(
            f"{len(dev)} of {len(splits.dev)} dev {what} and {len(test)} of {len(splits.test)} test {what} are also in "
            f"the training data, such as that of {found[0].where}; scores on them flatter, so remove them from one "
            "side",
            SharedInputWarning,
            stacklevel=2,
        )


def warn_of_new_labels(splits: Splits) -> None:
    """One warning where dev or test have labels that are in no training output, with their number and examples."""
    known = _labels(splits.train)
    dev, test = (sorted(label for label in _labels(split) if label not in known) for split in (splits.dev, splits.test))
    first = _places((*splits.dev, *splits.test), {*dev, *test})
    if not first:
        return
    shown = ", ".join(f"{label!r} ({where})" for label, where in list(first.items())[:3])
    warnings.warn(
        f"{len(dev)} labels of dev and {len(test)} of test are in no training output, so that no model can give them: "
        f"{shown}{', …' if len(first) > 3 else ''}; check how they are written, or move examples of them to the "
        "training data",
        NewLabelWarning,
        stacklevel=2,
    )


def loaded_for_pieces(task: Task) -> Splits:
    """What a task loads, without a warning of new labels: their pieces may be in training outputs.

    Raises:
        DataError, ConfigError, CodeError: as `structpred.task.loaded`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NewLabelWarning)
        return loaded(task)


def _labels(examples: Sequence[Example]) -> dict[str, None]:
    return dict.fromkeys(label for example in examples for reference in example.references for label in reference)


def _places(examples: Sequence[Example], labels: set[str]) -> dict[str, str]:
    """Where each label stands first, in that order."""
    found: dict[str, str] = {}
    for example in examples if labels else ():
        for label in _labels([example]):
            if label in labels:
                found.setdefault(label, example.where)
    return found


def _set(folder: str, node: dict[str, Any]) -> DataSet:
    """A published set from its table in ``published.toml``."""
    files = {
        name: Published(
            group["url"].format(name=name), sha256 or None, group.get("member", "").format(name=name) or None
        )
        for group in node.pop("files", ())
        for name, sha256 in group["sha256"].items()
    }
    return DataSet(folder=folder, files=files, **node | {"splits": tuple(node.get("splits", ()))})


_TABLE = Path(__file__).with_name("published.toml").read_text(encoding="utf-8")
SETS: Mapping[str, DataSet] = {folder: _set(folder, node) for folder, node in tomllib.loads(_TABLE).items()}
"""Every published set by its folder: terms, files with their addresses and SHA-256, and which file is which part."""

Place = Callable[[str], str]
"""From the name of a file to its path."""


@dataclass(frozen=True, kw_only=True)
class PublishedTask(Task):
    """A task whose files are found below ``$STRUCTPRED_DATA``, in the cache, or downloaded; see `DataSet`.

    Attributes:
        origin: the data set, its licence and what to cite.
    """

    origin: ClassVar[DataSet]

    @property
    def terms(self) -> str:
        """Those of the data set."""
        return self.origin.terms

    @abstractmethod
    def reader(self, place: Place) -> Task:
        """The task that reads the files at the places given."""

    def parts(self, place: Place) -> dict[str, Any]:
        """The paths of ``train``, ``dev`` and ``test`` by these names; of a set of two files there is no ``dev``."""
        names = [name.format_map(vars(self)) for name in self.origin.splits]
        return dict(zip(("train", *["dev"] * (len(names) - 2), "test"), map(place, names), strict=True))

    def load(self) -> Splits:
        """Find the files and read them.

        Raises:
            DataError: a file cannot be found, downloaded or read.
        """
        return self.reader(self.place).load()

    def place(self, name: str) -> str:
        """The path of one of the files, which is downloaded if need be.

        Raises:
            DataError: it cannot be found or downloaded.
        """
        return str(self.origin.path(name))

    def parse(self, text: str) -> Source:
        """The input symbols of one line of text.

        Raises:
            DataError: it is not what an input must be.
        """
        return self._text.parse(text)

    def render(self, output: Symbols) -> str:
        """Output symbols as the files write them."""
        return self._text.render(output)

    @cached_property
    def _text(self) -> Task:
        """The reader of single lines, which needs no file; kept, because thousands of outputs are written by it."""
        return self.reader(str)
