"""What the episodes of an environment have in common: data as ids, actions, limits and pay, checked when it is made."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakValueDictionary

import numpy as np
from gymnasium import spaces
from jaxtyping import Int

from structpred.config import Config, decode, hints
from structpred.environments.running_scores import RunningScore, running_score
from structpred.errors import ConfigError, DataError
from structpred.registry import nearest
from structpred.rewards import Context, Reward, bind
from structpred.rewards.base import Incremental
from structpred.sequences import Recording, spelt
from structpred.task import Example, Splits, Task, loaded, rendered, shown
from structpred.values import Count, coerce, refuse
from structpred.vocabulary import Vocabularies, Vocabulary


@dataclass(frozen=True)
class Ragged:
    """Sequences of ids end to end in one array.

    Attributes:
        ids: all ids, one sequence after another, ``[total]``.
        starts: where each sequence starts, ``[n]``.
        lengths: ids of each, ``[n]``.
    """

    ids: Int[np.ndarray, " total"]
    starts: Int[np.ndarray, " n"]
    lengths: Int[np.ndarray, " n"]

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> "Ragged":
        """From lists of ids; one cell follows the last, so that an empty sequence has somewhere to point to."""
        lengths = np.array([len(row) for row in rows], np.int64)
        ids = np.fromiter(chain(chain.from_iterable(rows), [0]), np.int64)
        return cls(ids, lengths.cumsum() - lengths, lengths)

    def gather(self, rows: Int[np.ndarray, "*batch"], width: int, padding: int) -> Int[np.ndarray, "*batch width"]:
        """The given sequences, padded to ``width``."""
        time = np.arange(width)
        inside = time < self.lengths[rows][..., None]
        cells = np.where(inside, self.starts[rows][..., None] + time, 0)
        padded: Int[np.ndarray, "*batch width"] = np.where(inside, self.ids[cells], padding)
        return padded


@dataclass(frozen=True)
class EncodedSplit:
    """The examples of one split.

    Attributes:
        examples: as the task gave them.
        sources: one sequence an example.
        references: all references of all examples, in order.
        first: index of each example's first reference, ``[n]``.
        variants: number of references of each example, ``[n]``.
        labels: the symbols of references; those that training does not know come last, and no action writes them.
    """

    examples: tuple[Example, ...]
    sources: Ragged
    references: Ragged
    first: Int[np.ndarray, " n"]
    variants: Int[np.ndarray, " n"]
    labels: Vocabulary

    def references_of(self, rows: Int[np.ndarray, " batch"], count: int) -> Int[np.ndarray, "batch count"]:
        """The indices of ``count`` references of each example; its first stands for those it does not have."""
        places = np.arange(count)
        own = np.where(places < self.variants[rows][:, None], places, 0)
        indices: Int[np.ndarray, "batch count"] = self.first[rows][:, None] + own
        return indices


@dataclass(frozen=True, eq=False)
class EncodedTask:
    """A task's data with the ids of its symbols; one object serves all environments of a task.

    Attributes:
        splits: the examples.
        vocabularies: the symbols of the training examples.
    """

    splits: Splits
    vocabularies: Vocabularies

    @classmethod
    def of(cls, task: Task) -> "EncodedTask":
        """Load a task, or take what another environment of it holds.

        Raises:
            DataError: the data cannot be read, have no training examples, no labels, or recordings for sources.
        """
        known = _LOADED.get(task)
        if known is None:
            known = _LOADED[task] = cls._loaded(task)
        return known

    @classmethod
    def _loaded(cls, task: Task) -> "EncodedTask":
        splits = loaded(task)
        examples = (*splits.train, *splits.dev, *splits.test)
        recorded = next((example for example in examples if isinstance(example.source, Recording)), None)
        if recorded is not None:
            raise DataError(
                f"{recorded.where}: an environment shows its agent symbols, but this input is a recording; use a task "
                "whose inputs are symbols"
            )
        references = (reference for example in splits.train for reference in example.references)
        vocabularies = Vocabularies.of([spelt(example.source) for example in splits.train], references)
        if not len(vocabularies.labels):
            raise DataError(
                f"an environment needs training examples with labels to choose from, but {type(task).__name__} has "
                f"{len(splits.train)} training examples without any label; check its files and its size"
            )
        return cls(splits, vocabularies)

    def split(self, name: str) -> EncodedSplit:
        """One split; input symbols unknown from training become the id after the last, labels the ids after the last.

        Raises:
            DataError: the split is empty.
        """
        examples: tuple[Example, ...] = getattr(self.splits, name)
        if not examples:
            raise DataError(f"the split {name!r} of this task is empty; use another, or check its files")
        inputs, known = self.vocabularies.inputs, self.vocabularies.labels
        references = [reference for example in examples for reference in example.references]
        news = {symbol for reference in references for symbol in known.unknown(reference)}
        labels = Vocabulary((*known.symbols, *sorted(news)))
        variants = np.array([len(example.references) for example in examples], np.int64)
        return EncodedSplit(
            examples=examples,
            sources=Ragged.of([inputs.encode(spelt(example.source), unknown=len(inputs)) for example in examples]),
            references=Ragged.of(list(map(labels.encode, references))),
            first=variants.cumsum() - variants,
            variants=variants,
            labels=labels,
        )

    @cached_property
    def longest_source(self) -> int:
        """Symbols of the longest input of all splits."""
        return max(len(example.source) for example in self._examples())

    @cached_property
    def longest_reference(self) -> int:
        """Labels of the longest reference of all splits."""
        return max(len(reference) for example in self._examples() for reference in example.references)

    @cached_property
    def misfit(self) -> Example | None:
        """The first example that cannot be tagged: without symbols, or with a reference of another length."""
        for example in self._examples():
            lengths = {len(reference) for reference in example.references}
            if not len(example.source) or lengths != {len(example.source)}:
                return example
        return None

    def _examples(self) -> tuple[Example, ...]:
        return (*self.splits.train, *self.splits.dev, *self.splits.test)


_LOADED: WeakValueDictionary[Task, EncodedTask] = WeakValueDictionary()
"""What environments that are in use have loaded: a lexicon takes seconds, and evaluation wants a second environment."""


Split = Literal["train", "dev", "test"]
Paid = Literal["end", "increments"]

if TYPE_CHECKING:
    TaskLike = Task | str | Mapping[str, Any]
    RewardLike = Reward | str | Mapping[str, Any] | Callable[..., float]
    Flag = bool | None
else:
    TaskLike = RewardLike = Flag = Any
"""Arguments whose mistakes are reported as messages, so run-time checks in tests leave them alone."""

OURS = "SequencePrediction"
"""What arguments belong to, in messages."""

ARGUMENTS = ("reward", "split", "paid", "limit", "fixed_length", "render_mode")
"""Those that a misspelt one may have meant."""


@dataclass(frozen=True)
class Rules:
    """The checked arguments of an environment, and everything derived from them.

    Attributes:
        task: where examples come from.
        reward: R, in its own unit.
        paid: R(y) at the end, or R(y_≤t) − R(y_<t) at every step.
        encoded: the task's data.
        split: the examples that episodes are about.
        fixed_length: True where an episode has as many steps as its source has symbols, and no action ends it.
        limit: labels after which an episode is truncated; in an environment of fixed length the longest source.
    """

    task: Task
    reward: Reward
    paid: Paid
    encoded: EncodedTask
    split: EncodedSplit
    fixed_length: bool
    limit: int

    @classmethod
    def of(
        cls,
        task: TaskLike,
        reward: RewardLike,
        fields: Mapping[str, Any],
        *,
        split: str,
        paid: str,
        limit: int | None,
        fixed_length: Flag,
    ) -> "Rules":
        """Check the arguments and load the data.

        Raises:
            ConfigError: an argument is wrong, or two of them do not go together.
            DataError: the task cannot be loaded.
        """
        where: Any = coerce(split, Split, f"{OURS}.split")
        when: Any = coerce(paid, Paid, f"{OURS}.paid")
        most: Any = coerce(limit, Count | None, f"{OURS}.limit")
        wanted: Any = coerce(fixed_length, bool | None, f"{OURS}.fixed_length")
        chosen: Task = _configured(task, Task, "task", fields)
        scored: Reward = _configured(reward, Reward, "reward", {})
        if scored.same_length and when == "increments" and not isinstance(scored, Incremental):
            raise ConfigError(
                f"{OURS}(paid='increments') needs the reward of every prefix, but {type(scored).__name__} has one only "
                "for outputs as long as their references, and no `increments`; use paid='end' or Hamming()"
            )
        encoded = EncodedTask.of(chosen)
        fixed = _fixed(encoded, chosen, scored, wanted)
        if fixed and most is not None:
            raise ConfigError(
                f"{OURS}.limit is for outputs of free length, but here an episode has as many steps as its source has "
                f"symbols, and limit is {most}; leave it out, or set fixed_length=False"
            )
        longest = encoded.longest_source if fixed else most or 2 * encoded.longest_reference + 1
        data = encoded.split(where)
        bound = bind(scored, Context(chosen, data.labels, data.examples))
        return cls(chosen, bound, when, encoded, data, fixed, longest)

    @property
    def labels(self) -> int:
        """V; where an action ends the output, it is the action V."""
        return len(self.encoded.vocabularies.labels)

    @property
    def actions(self) -> int:
        """V labels, and the end where the length is free."""
        return self.labels + (0 if self.fixed_length else 1)

    @property
    def unknown(self) -> int:
        """The id of an input symbol that is in no training example; the one after it is padding."""
        return len(self.encoded.vocabularies.inputs)

    def action_space(self) -> spaces.Discrete:
        """Labels, and last the end where the length is free."""
        return spaces.Discrete(self.actions)

    def observation_space(self) -> spaces.Space[dict[str, Any]]:  # a Dict, whose bases beartype cannot check
        """The same for all splits of a task, so that an agent can be evaluated on another one."""
        source = max(1, self.encoded.longest_source)
        return spaces.Dict(
            {
                "source": spaces.Box(0, self.unknown + 1, (source,), np.int64),
                "source_length": spaces.Box(0, source, (1,), np.int64),
                "source_mask": spaces.Box(0, 1, (source,), np.int8),
                "prefix": spaces.Box(0, self.labels, (self.limit,), np.int64),
                "prefix_length": spaces.Box(0, self.limit, (1,), np.int64),
                "prefix_mask": spaces.Box(0, 1, (self.limit,), np.int8),
            }
        )

    def running_score(self, n: int) -> RunningScore:
        """The reward of n outputs while they grow."""
        time = int(self.split.references.lengths.max())
        return running_score(self.reward, n, int(self.split.variants.max()), time)

    def render(self, example: int, prefix: list[int], score: float, *, over: bool) -> str:
        """An episode as text."""
        labels = self.encoded.vocabularies.labels
        of = self.split.examples[example]
        lines = [("source", shown(self.task, of.source)), ("output", rendered(self.task, labels.decode(prefix)))]
        lines += [("reference", rendered(self.task, reference)) for reference in of.references]
        lines += [("reward", f"{score:g}" + ("" if over else " so far"))]
        return "\n".join(f"{name:<9} {text}" for name, text in lines)


def _configured(value: object, family: type[Config], name: str, fields: Mapping[str, Any]) -> Any:
    """A config from itself, its registered name, or the mapping that its JSON is; fields belong to a name.

    A reward may be a function too, by itself or by its name.
    """
    if isinstance(value, str):
        node = family.named(value)
        assert isinstance(node, dict)
        _check_names(str(node["type"]), family, fields)
        value = {**node, **fields}
    elif fields:
        raise ConfigError(
            f"{OURS} takes other arguments ({', '.join(fields)}) as fields of a task that is given by its name, but "
            f"{name} is {value!r}; put them into it"
        )
    made = decode(dict(value), family, f"{OURS}.{name}") if isinstance(value, Mapping) else value
    made = made if isinstance(made, family) else family.accept(made)
    if not isinstance(made, family):
        refuse(f"{OURS}.{name}", f"a {name} or the name of one", made)
    return made


def _check_names(name: str, family: type[Config], fields: Mapping[str, Any]) -> None:
    """Refuse a keyword that is neither a field of the task nor an argument of the environment."""
    assert family.family is not None
    cls = family.family[name]
    known = [*hints(cls), *ARGUMENTS]
    for field in fields:
        if field not in known:
            raise ConfigError(
                f"neither {OURS} has an argument nor {cls.__name__} a field {field!r}; {nearest(field, known)}"
            )


def _fixed(encoded: EncodedTask, task: Task, reward: Reward, wanted: bool | None) -> bool:
    """Whether the source decides the length of the output: as asked for, or else as the data are.

    Raises:
        DataError: it is asked for, by argument or by the reward, and an example does not fit.
        ConfigError: the reward needs it and the argument forbids it.
    """
    name = type(reward).__name__
    if reward.same_length and wanted is False:
        raise ConfigError(
            f"the reward {name} needs outputs as long as their references, but {OURS}.fixed_length is False, which "
            "leaves the length to the agent; use EditDistance, or leave fixed_length out"
        )
    misfit = encoded.misfit
    if misfit is not None and (wanted or reward.same_length):
        why = f"{OURS}(fixed_length=True)" if wanted else f"the reward {name}"
        lengths = ", ".join(str(len(reference)) for reference in misfit.references)
        raise DataError(
            f"{misfit.where}: {why} needs a task of tagging, with one label for every input symbol, but in "
            f"{type(task).__name__} {len(misfit.source)} symbols have references of {lengths} labels here; use "
            "EditDistance, and leave the length to the agent"
        )
    return misfit is None if wanted is None else wanted
