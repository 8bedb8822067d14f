"""One temperature, in the conventions people publish it in."""

from dataclasses import dataclass
from typing import ClassVar

from structpred.config import Config, Positive


@dataclass(frozen=True, kw_only=True)
class Temperature(Config):
    """τ of q(y|y*) ∝ exp(r(y, y*)/τ), given in exactly one convention; the payoff converts.

    Conventions in use differ by a factor of 1 + ln V, which is why a bare number is not enough.

    Attributes:
        literal: τ as it stands in the formula.
        rescaled: the published τ of RML (Norouzi et al. 2016): literal = rescaled / (1 + ln V) for the edit
            distance, with ln(V − 1) for Hamming.
        edit_rate: expected edits per reference symbol; it transfers between tasks, so tune this one, on a log scale.

    Raises:
        ConfigError: none or several are given, or one is not above 0.
    """

    alternatives: ClassVar[tuple[str, ...]] = ("literal", "rescaled", "edit_rate")

    literal: Positive | None = None
    rescaled: Positive | None = None
    edit_rate: Positive | None = None
