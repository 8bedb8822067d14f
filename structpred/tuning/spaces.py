"""Search spaces: a function from a trial to an experiment, and ready ones by a field's dotted name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from structpred.assignment import assigned
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.protocols import Checkable
from structpred.registry import nearest

Value = str | int | float | bool | None


@runtime_checkable
class Suggest(Checkable, Protocol):
    """The methods of a trial that a space may call; Optuna's trials have them."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number between two others."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """A whole number between two others."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of several values."""


Space = Callable[[Suggest], Experiment]
"""The experiment of a trial; its own seed is ignored."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """Values that a field may take.

    Attributes:
        field: the field's dotted name, such as ``"optimiser.lr"``.
        low, high: the ends of a range of numbers, both included; whole numbers where both are.
        log: spread evenly over the logarithm.
        choices: the values themselves, instead of a range; names for a family.

    Raises:
        ConfigError: neither a range nor choices, or ends that are no range, or a choice twice.
    """

    field: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Value, ...] = ()

    def __post_init__(self) -> None:
        if self.choices:
            if len(set(map(repr, self.choices))) < len(self.choices):
                raise ConfigError(f"{self.field}: expected each choice once, but got {list(self.choices)}")
            if self.low is not None or self.high is not None or self.log:
                raise ConfigError(f"{self.field}: expected either choices or a range, but got both")
            return
        if self.low is None or self.high is None or not self.low < self.high:
            raise ConfigError(f"{self.field}: expected a low end below a high one, but got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ConfigError(f"{self.field}: a logarithmic range must begin above 0, but got {self.low}")

    def suggest(self, trial: Suggest) -> Value:
        """The trial's value; the parameter bears the field's dotted name."""
        low, high = self.low, self.high
        if isinstance(low, int) and isinstance(high, int):
            return trial.suggest_int(self.field, low, high, log=self.log)
        if low is not None and high is not None:
            return trial.suggest_float(self.field, float(low), float(high), log=self.log)
        chosen: Value = trial.suggest_categorical(self.field, self.choices)
        return chosen


@dataclass(frozen=True)
class Over:
    """An experiment with some of its fields searched; a space that can be sent to other processes.

    Attributes:
        base: the experiment.
        ranges: the fields that are searched.

    Raises:
        ConfigError: a field that the base does not have, or one named twice.
    """

    base: Experiment
    ranges: tuple[Range, ...]

    def __post_init__(self) -> None:
        fields = [each.field for each in self.ranges]
        if not fields or len(set(fields)) < len(fields):
            raise ConfigError(f"expected at least one field to search, each once, but got {fields}")
        for each in self.ranges:
            for value in each.choices or (each.low,):
                assigned(self.base, {each.field: value})

    def __call__(self, trial: Suggest) -> Experiment:
        """The base with the trial's values."""
        return assigned(self.base, {each.field: each.suggest(trial) for each in self.ranges})


READY = {
    "edit-rate": Range(field="objective.payoff.temperature.edit_rate", low=0.003, high=0.3, log=True),
    "rescaled": Range(field="objective.payoff.temperature.rescaled", low=0.4, high=1.0),
    "smoothing": Range(field="objective.epsilon", low=0.01, high=0.4, log=True),
    "sharpness": Range(field="objective.sharpness", low=0.01, high=10.0, log=True),
    "learning-rate": Range(field="optimiser.lr", low=3e-4, high=1e-2, log=True),
    "dropout": Range(field="model.dropout", low=0.0, high=0.6),
}
"""Common ranges, by name."""


def ready(name: str) -> Range:
    """A ready range by its name or by its field.

    Raises:
        ConfigError: there is none.
    """
    known = READY | {each.field: each for each in READY.values()}
    if name not in known:
        raise ConfigError(f"there is no ready range {name!r}; {nearest(name, [*READY])}")
    return known[name]


def edit_rate(base: Experiment, *, low: float = 0.003, high: float = 0.3) -> Over:
    """RML's temperature as expected edits per reference symbol, on a log scale."""
    return _over(base, "edit-rate", low, high)


def rescaled(base: Experiment, *, low: float = 0.4, high: float = 1.0) -> Over:
    """RML's temperature as it was published; for the edit distance it must stay below 1 + 1/ln V."""
    return _over(base, "rescaled", low, high)


def smoothing(base: Experiment, *, low: float = 0.01, high: float = 0.4) -> Over:
    """Label smoothing's ε, on a log scale."""
    return _over(base, "smoothing", low, high)


def sharpness(base: Experiment, *, low: float = 0.01, high: float = 10.0) -> Over:
    """Minimum risk's α, on a log scale."""
    return _over(base, "sharpness", low, high)


def learning_rate(base: Experiment, *, low: float = 3e-4, high: float = 1e-2) -> Over:
    """The optimiser's learning rate, on a log scale."""
    return _over(base, "learning-rate", low, high)


def dropout(base: Experiment, *, low: float = 0.0, high: float = 0.6) -> Over:
    """The model's dropout."""
    return _over(base, "dropout", low, high)


def _over(base: Experiment, name: str, low: float, high: float) -> Over:
    return Over(base, (replace(READY[name], low=float(low), high=float(high)),))
