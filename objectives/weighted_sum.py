"""A weighted sum of objectives."""

from collections import Counter
from dataclasses import dataclass

from structpred.config import Config, registered_name
from structpred.errors import ConfigError
from structpred.objective import Objective, StepContext, updates_of
from structpred.objectives.combined import Combined, only_number_of_updates
from structpred.registry import objectives
from structpred.values import Positive


@dataclass(frozen=True, kw_only=True)
class Weighted(Config):
    """A part of a sum.

    Attributes:
        objective: the part.
        weight: the factor on its loss.
        name: the prefix of its diagnostics; the objective's registered name by default.
    """

    objective: Objective
    weight: Positive = 1.0
    name: str = ""

    @property
    def label(self) -> str:
        """The name, or its default."""
        return self.name or registered_name(self.objective)


@objectives.register("weighted-sum")
@dataclass(frozen=True, kw_only=True)
class WeightedSum(Combined):
    """Σ_i w_i L_i: several objectives of the same p at once, such as a reward mixed with likelihood.

    Diagnostics are prefixed with the name of their part: ``"rml/loss"``, ``"rml/unchanged"``. Each part draws its own
    samples from q. If a part puts noise on the inputs, all parts see the noisy inputs. Where a part makes several
    updates on a batch, every other part counts in each of them.

    Attributes:
        parts: the objectives with their weights.
    """

    parts: tuple[Weighted, ...]

    def check(self) -> None:
        """Refuse an empty sum, two parts with the same name, and two parts that put noise on the inputs."""
        if not self.parts:
            raise ConfigError("WeightedSum needs at least one part, but got none; give it Weighted(objective=…)")
        twice = [name for name, count in Counter(part.label for part in self.parts).items() if count > 1]
        if twice:
            raise ConfigError(
                f"the parts of a WeightedSum need distinct names, but {twice[0]!r} occurs twice; set Weighted.name"
            )
        noisy = [part.label for part in self.parts if part.objective.corrupts]
        if len(noisy) > 1:
            raise ConfigError(
                f"p reads one input for all parts of a WeightedSum, but {' and '.join(map(repr, noisy))} "
                "each put noise on it; keep one of them"
            )
        several = [part.objective for part in self.parts if updates_of(part.objective) > 1]
        only_number_of_updates("a WeightedSum", several, "set their updates to one number")
        if several and noisy:
            raise ConfigError(
                f"{type(several[0]).__name__} makes several updates on a batch as it was read, but {noisy[0]!r} would "
                "put other noise on it at each; use updates=1, or leave the noise out"
            )

    def members(self) -> dict[str, Objective]:
        """The parts by name."""
        return {part.label: part.objective for part in self.parts}

    def weights(self, context: StepContext) -> tuple[float, ...]:
        """The same at every step."""
        del context
        return tuple(part.weight for part in self.parts)
