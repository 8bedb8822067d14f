"""What the episodes of an environment have in common: data, actions, limits and pay, checked when it is made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from gymnasium import spaces

from structpred.config import Config, Count, coerce, decode, hints, refuse
from structpred.environments.data import EncodedSplit, EncodedTask
from structpred.environments.running_scores import RunningScore, running_score
from structpred.errors import ConfigError, DataError
from structpred.registry import nearest
from structpred.rewards import Context, Reward, bind
from structpred.rewards.base import Incremental
from structpred.sequences import spelt
from structpred.task import Task

Split = Literal["train", "dev", "test"]
Paid = Literal["end", "increments"]

if TYPE_CHECKING:
    TaskLike = Task | str | Mapping[str, Any]
    RewardLike = Reward | str | Mapping[str, Any] | Callable[..., float]
    Flag = bool | None
else:
    TaskLike = RewardLike = Flag = Any
"""Arguments that may be wrong in ways that are told in words, so run-time checks in tests leave them alone."""

OURS = "SequencePrediction"
"""What arguments belong to, in messages."""

ARGUMENTS = ("reward", "split", "paid", "limit", "fixed_length", "render_mode")
"""Those that a misspelt one may have meant."""


@dataclass(frozen=True)
class Rules:
    """An environment's arguments, checked, and what follows from them.

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
        shown = self.split.examples[example]
        lines = [("source", " ".join(spelt(shown.source))), ("output", self.task.render(labels.decode(prefix)))]
        lines += [("reference", self.task.render(reference)) for reference in shown.references]
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
