"""The objectives that a model can be trained by, under one reward and one edit rate, and why the others cannot."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from structpred.config import Config, config_classes, hints, registered_name, required
from structpred.errors import ConfigError
from structpred.models.base import Model
from structpred.objective import Objective
from structpred.payoffs import EditDistancePayoff, HammingPayoff, Payoff, Temperature
from structpred.registry import objectives
from structpred.rewards import EditDistance, Hamming, Reward

EDIT_RATE = 0.1


@dataclass(frozen=True)
class Choices:
    """What is diagnosed on a model.

    Attributes:
        able: objectives by label: the registered name, and what sets variants of one objective apart.
        refused: why others cannot be, by registered name.
    """

    able: dict[str, Objective]
    refused: dict[str, str]


def usual_payoff(model: Model, edit_rate: float = EDIT_RATE) -> Payoff:
    """Around references by the Hamming distance where the input decides the length, else by the edit distance."""
    temperature = Temperature(edit_rate=edit_rate)
    cls = HammingPayoff if model.distribution.fixed_length else EditDistancePayoff
    return cls(temperature=temperature)


def usual_reward(model: Model) -> Reward:
    """Minus the Hamming distance where the input decides the length, else minus the edit distance."""
    return Hamming() if model.distribution.fixed_length else EditDistance()


def choices(
    model: Model, *, names: Sequence[str] | None = None, reward: Reward | None = None, payoff: Payoff | None = None
) -> Choices:
    """Every objective, in each way to compute it, that a model supports under a reward and a payoff.

    Args:
        model: the specification of the model.
        names: only these objectives, by registered name; all by default.
        reward: takes the place of every objective's reward; `usual_reward` by default.
        payoff: takes the place of every objective's payoff; `usual_payoff` by default.

    Raises:
        ConfigError: an objective of ``names`` does not exist, or the model or the reward cannot serve it.
    """
    chosen = reward or usual_reward(model), payoff or usual_payoff(model)
    able: dict[str, Objective] = {}
    refused: dict[str, str] = {}
    for name in dict.fromkeys(names or objectives):
        working, why = _working(objectives[name], model, *chosen)
        if names and not working:
            raise ConfigError(why)
        able |= _labelled(name, working)
        if not working:
            refused[name] = why
    return Choices(able, refused)


def _working(cls: type[Objective], model: Model, reward: Reward, payoff: Payoff) -> tuple[list[Objective], str]:
    """The ways to compute an objective that the model supports, and why it does not support the first other one."""
    working: list[Objective] = []
    reasons: list[str] = []
    if not cls.examples():
        reasons.append(
            f"{cls.__name__} needs a value for {', '.join(required(cls)) or 'its parts'}; diagnose a run of it"
        )
    for example in cls.examples():
        if example.learns_from:
            reasons.append(
                f"{cls.__name__} learns from another run, in its field {example.learns_from}; diagnose a run of it"
            )
            continue
        try:
            objective = replace(example, **_fields(cls, reward, payoff))
            objective.check_model(model)
        except ConfigError as error:
            reasons.append(str(error))
            continue
        if objective not in working:
            working.append(objective)
    return working, reasons[0] if reasons else ""


def _fields(cls: type[Config], reward: Reward, payoff: Payoff) -> dict[str, Config]:
    """The reward and the payoff for the fields of an objective that take one."""
    found: dict[str, Config] = {}
    for name, hint in hints(cls).items():
        classes = config_classes(hint)
        for value, base in ((reward, Reward), (payoff, Payoff)):
            if classes and issubclass(classes[0], base):
                found[name] = value
    return found


def _labelled(name: str, working: Sequence[Objective]) -> dict[str, Objective]:
    """By name where there is one, else by name and what differs."""
    if len(working) < 2:
        return {name: working[0]} if working else {}
    fields = [field for field in hints(type(working[0])) if len({str(getattr(each, field)) for each in working}) > 1]
    return {f"{name} ({', '.join(_shown(getattr(each, field)) for field in fields)})": each for each in working}


def _shown(value: object) -> str:
    return registered_name(value) if isinstance(value, Config) else str(value)
