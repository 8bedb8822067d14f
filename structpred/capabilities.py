"""Which objective works with which model and reward, computed from the classes themselves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from structpred.config import Config, config_classes, hints, registered_name, required
from structpred.errors import ConfigError
from structpred.models.base import Model
from structpred.objective import Objective
from structpred.payoffs import Temperature
from structpred.registry import Registry, models, objectives, payoffs, rewards
from structpred.rewards import EditDistance, Hamming, WeightedReward

CHOICES = (payoffs, rewards)
"""The families that determine an objective's reward."""

EXAMPLES: dict[str, tuple[Any, ...]] = {
    "temperature": (Temperature(rescaled=0.8),),
    "function": ("module:function",),
    "path_or_name": ("folder",),
    "parts": ((WeightedReward(reward=Hamming()),), (WeightedReward(reward=EditDistance()),)),
}
"""Values for fields without a default, by field name. Usually only the class matters for compatibility; a weighted sum
has the capabilities of its parts, so there is one over positions and one of any length."""


@dataclass(frozen=True)
class Row:
    """One objective under one reward, on every model.

    Attributes:
        objective: its registered name.
        reward: the registered name of its reward or payoff; ``"-"`` for an objective without one.
        ways: for each model ``"exact"``, ``"sampled"``, ``"exact or sampled"``, ``"as its parts"`` for an objective
            made of others, or empty if the pair is refused.
        reasons: for each model the reason of the refusal, empty if the pair works.
    """

    objective: str
    reward: str
    ways: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """All rows, and the models in their columns."""

    models: tuple[str, ...]
    rows: tuple[Row, ...]

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]], list[str]]:
        """Heading, rows and numbered notes; a refused pair shows the number of its reason."""
        notes: list[str] = []
        rows = []
        for row in self.rows:
            cells = [way or f"no [{_number(notes, reason)}]" for way, reason in zip(row.ways, row.reasons, strict=True)]
            rows.append((row.objective, row.reward, *cells))
        return ("objective", "reward", *self.models), rows, notes


def grid() -> Grid:
    """The grid of all installed objectives, rewards, payoffs and models."""
    columns = _able(models)
    specifications = [_model(name) for name in columns]
    rows = [
        row
        for name in objectives
        for chosen in _choices(objectives[name])
        for row in [_row(name, objectives[name], chosen, specifications)]
    ]
    return Grid(columns, tuple(rows))


def combinations() -> Iterator[tuple[Objective, Model]]:
    """Every objective, in all its variants and with each reward, with every model that it can train."""
    specifications = [_model(name) for name in _able(models)]
    for name in objectives:
        for chosen in _choices(objectives[name]):
            for model in specifications:
                yield from ((objective, model) for objective in _working(objectives[name], chosen, model)[0])


def _model(name: str) -> Model:
    """A model with examples of the values that it needs; nothing is read."""
    cls = models[name]
    model: Model = cls(**{field: EXAMPLES[field][0] for field in required(cls)})
    return model


def _number(notes: list[str], reason: str) -> int:
    if reason not in notes:
        notes.append(reason)
    return notes.index(reason) + 1


def _choices(cls: type[Config]) -> Iterator[dict[str, tuple[Config, ...]]]:
    """Values of the fields that take a reward or payoff: each member of the family in turn, in all its variants."""
    names = _chosen(cls)
    for picked in product(*map(_members, names.values())):
        yield dict(zip(names, picked, strict=True))


def _chosen(cls: type[Config]) -> dict[str, Registry]:
    """The fields to choose for, with their families; a reward in a reward keeps its default, else there is no end."""
    families = {name: _family(hint) for name, hint in hints(cls).items()}
    return {
        name: each for name, each in families.items() if each is not None and each in CHOICES and each != cls.family
    }


def _family(hint: Any) -> Registry | None:
    classes = config_classes(hint)
    return classes[0].family if classes else None


def _members(family: Registry) -> list[tuple[Config, ...]]:
    """Each member in all its variants; a member that takes a reward with each reward."""
    able = [family[name] for name in _able(family)]
    return [tuple(_made(cls, chosen)) for cls in able for chosen in _choices(cls)]


def _able(family: Registry) -> tuple[str, ...]:
    """The members that can be made; one of a user's own may need values that nobody knows."""
    return tuple(name for name in family if EXAMPLES.keys() >= set(required(family[name])))


def _named(member: Config) -> str:
    """The registered name; for a payoff with a reward, the reward's name followed by its own."""
    inner = [_named(getattr(member, name)) for name in _chosen(type(member))]
    return f"{', '.join(inner)} ({registered_name(member)})" if inner else registered_name(member)


def _made(cls: type[Config], chosen: dict[str, tuple[Config, ...]]) -> Iterator[Config]:
    """All variants of a class with the given values."""
    ways = {name: EXAMPLES[name] for name in required(cls) if name not in chosen} | chosen
    for values in product(*ways.values()):
        yield cls(**dict(zip(ways, values, strict=True)))


def _row(
    name: str, cls: type[Objective], chosen: dict[str, tuple[Config, ...]], specifications: Sequence[Model]
) -> Row:
    found = [_way(cls, chosen, model) for model in specifications]
    reward = ", ".join(_named(ways[0]) for ways in chosen.values()) or "-"
    return Row(name, reward, tuple(way for way, _ in found), tuple(reason for _, reason in found))


def _way(cls: type[Objective], chosen: dict[str, tuple[Config, ...]], model: Model) -> tuple[str, str]:
    """How the pair works over all examples of the objective, or why it is refused."""
    if not cls.examples():
        needed = ", ".join(required(cls))
        unknown = f"{cls.__name__} needs a value for {needed}; its classmethod examples() can give one of each kind"
        return ("as its parts", "") if _made_of_objectives(cls) else ("", unknown)
    working, refusals = _working(cls, chosen, model)
    composed = _made_of_objectives(cls)
    ways = {"as its parts" if composed else "exact" if objective.exact else "sampled" for objective in working}
    return " or ".join(sorted(ways)), "" if ways else refusals[0]


def _made_of_objectives(cls: type[Config]) -> bool:
    """True if a field, or a field of a nested config without a family, takes an objective."""
    configs = [each for hint in hints(cls).values() for each in config_classes(hint)]
    return any(issubclass(each, Objective) or (each.family is None and _made_of_objectives(each)) for each in configs)


def _working(
    cls: type[Objective], chosen: dict[str, tuple[Config, ...]], model: Model
) -> tuple[list[Objective], list[str]]:
    """The examples of an objective that the model supports, and why it does not support the others."""
    working: list[Objective] = []
    refusals: list[str] = []
    for example, picked in product(cls.examples(), product(*chosen.values())):
        try:
            objective = replace(example, **dict(zip(chosen, picked, strict=True)))
            objective.check_model(model)
        except ConfigError as error:
            refusals.append(str(error))
            continue
        working.append(objective)
    return working, refusals
