"""The common base of objectives composed of other objectives."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from structpred.errors import ConfigError
from structpred.models import Model
from structpred.objective import Losses, Objective, Requirement, StepContext, losses_of, updates_of
from structpred.objectives.candidates import join
from structpred.sequences import Sequences
from structpred.task import Sizes


def weighted(losses: dict[str, Losses], weights: Sequence[float]) -> Losses:
    """Σ_i w_i L_i per example; the loss and diagnostics of each part become diagnostics under its name."""
    pairs = zip(losses.values(), weights, strict=True)
    total = reduce(torch.add, [weight * each.values for each, weight in pairs])
    diagnostics = {
        f"{name}/{key}": values
        for name, each in losses.items()
        for key, values in {"loss": each.values.detach(), **each.diagnostics}.items()
    }
    kept = {f"{name}/{key}": values for name, each in losses.items() for key, values in each.kept.items()}
    return Losses(total, diagnostics, kept)


def only_number_of_updates(of: str, parts: Sequence[Objective], advice: str) -> None:
    """Refuse parts that make different numbers of updates on a batch, which they make together.

    Raises:
        ConfigError: they do.
    """
    if len({updates_of(part) for part in parts}) > 1:
        found = " and ".join(f"{type(part).__name__} makes {part.updates}" for part in parts)
        raise ConfigError(
            f"the objectives of {of} share the updates on a batch, so all must make equally many, but {found}; {advice}"
        )


@dataclass(frozen=True, kw_only=True)
class Combined(Objective):
    """Several objectives of the same p. A subclass defines the parts and their weights over time.

    A part with weight 0 is not computed.
    """

    requires = ()  # its parts determine what p must offer

    @abstractmethod
    def members(self) -> dict[str, Objective]:
        """The parts by name."""

    @abstractmethod
    def weights(self, context: StepContext) -> tuple[float, ...]:
        """The weight of each part: at least 0, and not all 0."""

    def requirements(self) -> tuple[Requirement, ...]:
        """The requirements of all parts."""
        return tuple(dict.fromkeys(each for part in self.members().values() for each in part.requirements()))

    def check_model(self, model: Model) -> None:
        """Refuse any model that a part refuses."""
        for part in self.members().values():
            part.check_model(model)

    @property
    def exact(self) -> bool:
        """True if all parts are exact."""
        return all(part.exact for part in self.members().values())

    @property
    def draws_in_step(self) -> bool:
        """True if any part that is not exact does."""
        return any(part.draws_in_step and not part.exact for part in self.members().values())

    @property
    def perturbs(self) -> bool:
        """True if any part does."""
        return any(part.perturbs for part in self.members().values())

    @property
    def updates(self) -> int:
        """The largest number of any part."""
        return max(updates_of(part) for part in self.members().values())

    @property
    def drawn(self) -> int:
        """The total over all parts."""
        return sum(part.drawn for part in self.members().values())

    def draw(self, targets: Sequences, num_labels: int, generator: torch.Generator) -> Sequences | None:
        """The samples of all parts, concatenated along the candidate axis."""
        drawn = []
        for name, part in self.members().items():
            draws = part.draw(targets, num_labels, generator)
            count = 0 if draws is None else draws.lengths.shape[1]
            if count != part.drawn:
                raise ConfigError(
                    f"{type(part).__name__} ({name!r}) declares {part.drawn} candidates, but `draw` returned "
                    f"{count}; make its property `drawn` return that number"
                )
            drawn += [] if draws is None else [draws]
        return reduce(join, drawn) if drawn else None

    @property
    def corrupts(self) -> bool:
        """True if any part may."""
        return any(part.corrupts for part in self.members().values())

    def corrupt(self, inputs: Sequences, symbols: int, generator: torch.Generator | None) -> Sequences:
        """The inputs with the noise that the parts add."""
        for part in self.members().values():
            inputs = part.corrupt(inputs, symbols, generator)
        return inputs

    def state(self, sizes: Sizes) -> nn.Module | None:
        """The states of the parts by index; None if no part has one."""
        states = {str(number): part.state(sizes) for number, part in enumerate(self.members().values())}
        present = {number: state for number, state in states.items() if state is not None}
        return nn.ModuleDict(present) if present else None

    def losses(self, p: Any, targets: Sequences, context: StepContext) -> Losses:
        """The weighted sum of the parts' losses at this point in training."""
        members, weights = self.members(), self.weights(context)
        counting = [number for number, weight in enumerate(weights) if weight > 0]
        draws = self._split(context.draws)
        found = {}
        for number in counting:
            name, part = list(members.items())[number]
            kept = _under(context.kept, name) if updates_of(part) > 1 else None
            own = replace(context, draws=draws[number], state=_at(context.state, number), kept=kept)
            found[name] = losses_of(part, p, targets, own)
        return weighted(found, [weights[number] for number in counting])

    def _split(self, draws: Sequences | None) -> list[Sequences | None]:
        """The samples that `draw` drew for each part."""
        counts = [part.drawn for part in self.members().values()]
        if draws is None:
            return [None] * len(counts)
        given = draws.lengths.shape[1]
        if given != sum(counts):
            raise ConfigError(
                f"{type(self).__name__} needs {sum(counts)} samples per example, in the order of its parts "
                f"({', '.join(map(str, counts))}), but got {given}; draw them with its own `draw`"
            )
        labels, lengths = torch.split(draws.labels, counts, 1), torch.split(draws.lengths, counts, 1)
        weights = [None] * len(counts) if draws.weights is None else torch.split(draws.weights, counts, 1)
        parts = [Sequences(*each[:2], weights=each[2]) for each in zip(labels, lengths, weights, strict=True)]
        return [part if count else None for part, count in zip(parts, counts, strict=True)]


def _under(kept: dict[str, Tensor] | None, name: str) -> dict[str, Tensor] | None:
    """What the part of this name has kept; None if nothing, as where it had no weight in the first update."""
    prefix = f"{name}/"
    own = {key.removeprefix(prefix): values for key, values in (kept or {}).items() if key.startswith(prefix)}
    return own or None


def _at(state: nn.Module | None, number: int) -> nn.Module | None:
    """The state of one part."""
    present = isinstance(state, nn.ModuleDict) and str(number) in state
    return state[str(number)] if isinstance(state, nn.ModuleDict) and present else None
