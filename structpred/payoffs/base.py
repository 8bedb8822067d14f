"""The payoff interface, and its temperature in the conventions used in publications."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from structpred.config import Config
from structpred.registry import article, payoffs
from structpred.returned import described, refuse
from structpred.rewards.base import Reward
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.values import Positive


@dataclass(frozen=True, kw_only=True)
class Temperature(Config):
    """τ of q(y|y*) ∝ exp(r(y, y*)/τ), given in exactly one convention; the payoff converts.

    The conventions differ by a factor of 1 + ln V, so a bare number is ambiguous.

    Attributes:
        literal: τ as in the formula.
        rescaled: the published τ of RML (Norouzi et al. 2016): literal = rescaled / (1 + ln V) for the edit
            distance, with ln(V − 1) for Hamming.
        edit_rate: expected edits per reference symbol; it transfers between tasks, so tune this one, on a log scale.

    Raises:
        ConfigError: none or several are given, or the value is not positive.
    """

    exactly_one_of: ClassVar[tuple[str, ...]] = ("literal", "rescaled", "edit_rate")

    literal: Positive | None = None
    rescaled: Positive | None = None
    edit_rate: Positive | None = None


class Conventions(NamedTuple):
    """A temperature in every convention; None where its law has none."""

    literal: float
    rescaled: float | None
    edit_rate: float | None


def distribution_of(payoff: "Payoff", targets: Sequences, num_labels: int) -> Any:
    """`Payoff.distribution`, checked.

    Raises:
        ConfigError: it is of another class than the payoff's, whose verbs objectives were checked against.
    """
    found: object = payoff.distribution(targets, num_labels)
    if not isinstance(found, payoff.distribution_class):
        what, expected = f"{type(payoff).__name__}.distribution", article(payoff.distribution_class.__name__)
        came = described(None) if found is None else article(type(found).__name__)
        refuse(what, expected, came, "correct it, or the payoff's `distribution_class`")
    return found


@dataclass(frozen=True, kw_only=True)
class Payoff(Config):
    """The exponentiated payoff distribution q(y|y*) ∝ exp(r(y, y*)/τ) (Norouzi et al. 2016, arXiv 1609.00150).

    Attributes:
        temperature: τ, in any of its conventions.
        distribution_class: the class of q; objectives are checked against its verbs.
    """

    family = payoffs
    distribution_class: ClassVar[type]

    temperature: Temperature

    @property
    @abstractmethod
    def keeps_length(self) -> bool:
        """True if every sample is as long as its reference, so that a tagger can be trained on it."""

    @property
    @abstractmethod
    def reward(self) -> Reward:
        """r of the payoff's formula."""

    @abstractmethod
    def literal(self, num_labels: int) -> float:
        """τ as in the formula, for V = ``num_labels``."""

    def conventions(self, num_labels: int) -> Conventions:
        """τ in every convention that the payoff has, for V = ``num_labels``."""
        converters = [getattr(self, name, None) for name in Conventions._fields]
        return Conventions._make(None if convert is None else float(convert(num_labels)) for convert in converters)

    @abstractmethod
    def distribution(self, targets: Sequences, num_labels: int) -> Any:
        """q(·|y*) for each target y* ``[batch, time]``, over the labels 0..``num_labels``−1.

        Returns an instance of `distribution_class`.
        """

    def prepare(self, sizes: Sizes) -> None:
        """Read and check everything needed before training; does nothing by default."""
