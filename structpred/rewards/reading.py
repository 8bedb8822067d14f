"""Rewards that read what ids stand for, symbols or the text that a task makes of them: how they come by the data."""

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from structpred.blame import blaming
from structpred.config import Config, components, hints
from structpred.errors import ConfigError
from structpred.foreign import modules_of
from structpred.returned import number
from structpred.rewards.base import Reward
from structpred.sequences import Sequences
from structpred.task import Example, Task, loaded, rendered
from structpred.vocabulary import Symbols, Vocabulary


@dataclass(frozen=True, eq=False)
class Context:
    """The data that ids come from. Training and environments make one of theirs; elsewhere `of` does.

    Attributes:
        task: renders symbols as text.
        labels: the symbols of outputs, in the order of their ids.
        examples: what `Sequences.examples` are indices of.
    """

    task: Task
    labels: Vocabulary
    examples: tuple[Example, ...]

    @classmethod
    def of(cls, task: Task) -> "Context":
        """The context of a task's training examples, which is also the one that training has.

        A model that decides its labels itself (`structpred.models.Model.labels`) has others; make its context of those.

        Raises:
            DataError: the data cannot be read.
        """
        train = loaded(task).train
        return cls(task, Vocabulary.of(reference for example in train for reference in example.references), train)

    @cached_property
    def modules(self) -> set[str]:
        """Where a task from outside the package is defined, whose errors become sentences (`structpred.blame`)."""
        return modules_of([type(self.task)])

    def symbols(self, ids: Sequence[int]) -> Symbols:
        """The symbols of an output.

        Raises:
            ConfigError: an id is not that of a label of these data.
        """
        strange = [each for each in ids if not 0 <= each < len(self.labels)]
        if strange:
            raise ConfigError(
                f"the reward is bound to data with the labels 0 to {len(self.labels) - 1}, but is asked about the "
                f"label {strange[0]}; bind it to the data that the label comes from"
            )
        return self.labels.decode(ids)

    def text(self, ids: Sequence[int]) -> str:
        """An output as the task renders it.

        Raises:
            ConfigError: an id is not that of a label of these data, or the task renders no text.
        """
        return rendered(self.task, self.symbols(ids))


class Memory:
    """Values by what they were computed from; of more than ``size`` those used longest ago are forgotten.

    It belongs to one process: a copy or a pickled one is empty.

    Args:
        size: how many values are kept; 0 keeps none.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.values: OrderedDict[Hashable, float] = OrderedDict()

    def __reduce__(self) -> tuple[type["Memory"], tuple[int]]:
        return Memory, (self.size,)

    def __len__(self) -> int:
        return len(self.values)

    def value(self, key: Hashable, compute: Callable[[], float]) -> float:
        """The value of a key, computed where it is not known."""
        if not self.size:
            return compute()
        if key in self.values:
            self.values.move_to_end(key)
            return self.values[key]
        found = self.values[key] = compute()
        if len(self.values) > self.size:
            self.values.popitem(last=False)
        return found


REMEMBERED = 2**16
"""How many values a reward of texts remembers: outputs recur from step to step, the likelier they are the more."""


@dataclass(frozen=True, kw_only=True)
class Reading(Reward):
    """A reward that has to be bound to the data before it can score; see `structpred.rewards.bind`."""

    _context: ClassVar[Context | None] = None  # an attribute of the instance once it is bound

    def attach(self, context: Context) -> None:
        """Let it read the data; `structpred.rewards.bind` calls this on a reward that it has just made."""
        object.__setattr__(self, "_context", context)

    @property
    def context(self) -> Context:
        """The data.

        Raises:
            ConfigError: it is not bound to any.
        """
        if self._context is None:
            raise ConfigError(
                f"{type(self).__name__} reads what label ids stand for, but nothing says which data they come from; "
                "training and environments bind it to theirs; elsewhere, call structpred.rewards.bind(reward, "
                "Context.of(task))"
            )
        return self._context

    def indices(self, references: Sequences, who: str, what: str) -> list[int]:
        """Which example of the context each row of ``references`` is of.

        Args:
            references: say so in `Sequences.examples`.
            who: asks, for the message.
            what: is asked for, of each example.

        Raises:
            ConfigError: it is not known.
        """
        examples, known = references.examples, len(self.context.examples)
        if examples is None:
            raise ConfigError(
                f"{who} asks for {what} of each example, but nothing says which examples the references are of; give "
                "references with Sequences.examples, the indices in Context.examples"
            )
        found: list[int] = examples.tolist()
        strange = [each for each in found if not 0 <= each < known]
        if strange or len(found) != len(references):
            wrong = f"the example {strange[0]}" if strange else f"{len(found)} examples for {len(references)} rows"
            raise ConfigError(
                f"{who} asks for the examples of {len(references)} references among {known}, but Sequences.examples "
                f"names {wrong}; give one index in Context.examples for each"
            )
        return found


@dataclass(frozen=True, kw_only=True)
class TextReward(Reading):
    """A reward of an output's text, as the task renders it. A class of your own needs `value` and a name.

    Values are computed once and remembered, the latest 65,536 of them.
    """

    @abstractmethod
    def value(self, output: str, references: tuple[str, ...]) -> float:
        """The reward of one output; it must depend on nothing else."""

    def score(self, outputs: Sequences, references: Sequences) -> Float[Tensor, "batch candidates"]:
        """The reward of each candidate.

        Raises:
            ConfigError: it is not bound to data, or to others than these.
        """
        text = self.context.text
        values = []
        with blaming(self.context.modules):
            for candidates, targets in rows_of(outputs, references):
                wanted = tuple(map(text, targets))
                values += [self._remembered(text(each), wanted) for each in candidates]
        return (
            torch.tensor(values, dtype=torch.float64)
            .reshape(outputs.lengths.shape)
            .to(outputs.device, non_blocking=True)
        )

    def _remembered(self, output: str, references: tuple[str, ...]) -> float:
        return self._memory.value((output, references), lambda: self._computed(output, references))

    def _computed(self, output: str, references: tuple[str, ...]) -> float:
        return number(self.value(output, references), f"{type(self).__name__}.value")

    @cached_property
    def _memory(self) -> Memory:
        return Memory(REMEMBERED)


def rows_of(outputs: Sequences, references: Sequences) -> Iterator[tuple[list[list[int]], list[list[int]]]]:
    """The ids of each example's candidates and of its references.

    Args:
        outputs: ``[batch, candidates, time]``.
        references: ``[batch, time]``, or ``[batch, references, time]``.
    """
    several = references if references.lengths.ndim == 2 else references.candidates()
    candidates, targets = outputs.flatten().tolist(), several.flatten().tolist()
    each, count = outputs.lengths.shape[1], several.lengths.shape[1]
    for i in range(len(outputs)):
        yield candidates[i * each : (i + 1) * each], targets[i * count : (i + 1) * count]


Bound = TypeVar("Bound", bound=Config)


def bind(config: Bound, context: Context) -> Bound:
    """The same reward, or an objective or payoff that holds rewards, where each of them may read the data.

    The bound config equals the original, with the same JSON and the same identity. A config without a reward that reads
    more than ids is returned as it is.

    Args:
        config: a reward, or a config that holds rewards at any depth.
        context: the data that ids come from.

    Raises:
        ConfigError: they are something else.
    """
    if not isinstance(config, Config) or not isinstance(context, Context):
        raise ConfigError(
            "bind takes a reward, or what holds rewards, and a Context, but got "
            f"{type(config).__name__} and {type(context).__name__}; call bind(reward, Context.of(task))"
        )
    changed = {}
    for name in hints(type(config)):
        before = getattr(config, name)
        after = _bound(before, context)
        if after is not before:
            changed[name] = after
    if not changed and not isinstance(config, Reading):
        return config
    made = replace(config, **changed)
    if isinstance(made, Reading):
        made.attach(context)
    return made


def asks_for_examples(config: Config) -> bool:
    """True where a reward in it wants to know which example each reference is of (`Sequences.examples`)."""
    return any(part.asks_for_examples for part in components(config) if isinstance(part, Reward))


def _bound(value: object, context: Context) -> object:
    """The value itself where nothing in it was bound, so that `bind` sees that."""
    if isinstance(value, Config):
        return bind(value, context)
    if isinstance(value, tuple):
        items = tuple(_bound(each, context) for each in value)
        return items if any(one is not other for one, other in zip(items, value, strict=True)) else value
    return value
