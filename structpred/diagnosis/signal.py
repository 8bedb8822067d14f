"""How much of a gradient is signal: ‖E g‖² against tr Var g, bias and cosine, from draws or from exact means."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from torch import Tensor

ROUNDING = 1e-12
"""A share of E‖g‖² below which what looks like variance is an error of rounding: draws come in single precision."""

Square = Float[np.ndarray, "rows rows"]


@dataclass(frozen=True)
class Signal:
    """The two halves of a random gradient g.

    Attributes:
        strength: ‖E g‖².
        noise: tr Var g, the sum of the variances of all its components.
        error: standard error of ``noise``; 0 where it is computed in closed form.
    """

    strength: float
    noise: float
    error: float = 0.0

    @property
    def snr(self) -> float:
        """The signal-to-noise ratio ‖E g‖² / tr Var g; infinite without noise.

        The mean of n independent gradients has n times this ratio.

        Examples:
            >>> Signal(strength=2.0, noise=4.0).snr
            0.5
        """
        if self.noise > 0:
            return self.strength / self.noise
        return math.inf if self.strength > 0 else math.nan

    def averaged(self, n: int) -> "Signal":
        """That of the mean of ``n`` independent gradients."""
        return Signal(self.strength, self.noise / n, self.error / n)


@dataclass(frozen=True)
class Measured:
    """A number and its standard error.

    Attributes:
        value: the number; NaN where the draws do not determine it.
        error: its standard error; 0 where nothing was estimated.
    """

    value: float
    error: float = 0.0

    @property
    def exact(self) -> bool:
        """True where nothing was estimated."""
        return self.error == 0 and not math.isnan(self.value)

    def over(self, divisor: float) -> "Measured":
        """Divided by a number."""
        return Measured(self.value / divisor, self.error / divisor)


@dataclass(frozen=True)
class Mean:
    """The mean of a random gradient: exact as a single row, or as the independent draws that it is estimated from.

    Attributes:
        rows: ``[1, parameters]`` or ``[draws, parameters]``.
        exact: True for the mean itself.
    """

    rows: Float[Tensor, "rows parameters"]
    exact: bool

    @cached_property
    def products(self) -> Square:
        """All inner products of the rows."""
        rows = self.rows.double()
        found: Square = (rows @ rows.T).cpu().numpy()
        return found


@dataclass(frozen=True)
class Quality:
    """What is known of an objective's gradient at one point.

    Attributes:
        norm: E‖g‖, of the gradient of one step.
        snr: ‖E g‖² / tr Var g.
        cosine: of E g to the gradient of −E_p[r].
        bias: ‖E g − e‖ / ‖e‖ with e the gradient of −E_p[r].
    """

    norm: Measured
    snr: Measured
    cosine: Measured
    bias: Measured


def quality(
    draws: Float[Tensor, "draws parameters"], truth: Mean, mean: Float[Tensor, " parameters"] | None = None
) -> Quality:
    """Norm, signal-to-noise ratio, cosine and bias of a gradient from independent draws of it.

    Nothing is biased by the number of draws: ‖E g‖² is the mean of g_i·g_j over pairs i ≠ j, or is known from ``mean``;
    tr Var g is the mean of ‖g_i‖² less that. Ratios of these have a bias of order 1/draws. Standard errors are those of
    the jackknife, over draws of the gradient and over those of the truth.

    Args:
        draws: independent gradients; a single one for a gradient without chance.
        truth: the gradient of −E_p[r].
        mean: E g where it is known exactly.
    """
    own = Mean(draws, exact=False)
    if len(draws) == 1:
        own = Mean(draws, exact=True)
    elif mean is not None:
        own = Mean(mean.unsqueeze(0), exact=True)
    table = _Products.of(draws, own, truth)
    cosine = _open_if_draws_leave_it(table.jackknife(_cosine, against_truth=True))
    return Quality(
        table.jackknife(_norm), table.jackknife(_snr), cosine, _root(table.jackknife(_bias_square, against_truth=True))
    )


@dataclass(frozen=True)
class _Sums:
    """Estimates of E‖g‖, E‖g‖², ‖E g‖², E g · e and ‖e‖²."""

    norm: float
    square: float
    strength: float
    cross: float
    truth: float
    noisy: bool


@dataclass(frozen=True)
class _Products:
    """All inner products that the estimates are made of: of draws, of the own mean, and of the truth."""

    draws: Float[np.ndarray, " draws"]
    own: Float[np.ndarray, "own own"]
    cross: Float[np.ndarray, "own true"]
    truth: Float[np.ndarray, "true true"]
    noisy: bool
    own_exact: bool
    truth_exact: bool

    @classmethod
    def of(cls, draws: Tensor, own: Mean, truth: Mean) -> "_Products":
        cross = (own.rows.double() @ truth.rows.double().T).cpu().numpy()
        squares = draws.double().square().sum(1).cpu().numpy()
        return cls(squares, own.products, cross, truth.products, len(draws) > 1, own.exact, truth.exact)

    def sums(self, kept: np.ndarray, true: np.ndarray) -> _Sums:
        """The estimates from some of the draws, given as 0 or 1 each."""
        weights = np.ones(len(self.own)) if self.own_exact else kept
        return _Sums(
            norm=float(kept @ np.sqrt(self.draws) / kept.sum()),
            square=float(kept @ self.draws / kept.sum()),
            strength=_square_of_mean(self.own, weights, self.own_exact),
            cross=float(weights @ self.cross @ true / (weights.sum() * true.sum())),
            truth=_square_of_mean(self.truth, true, self.truth_exact),
            noisy=self.noisy,
        )

    def jackknife(self, ratio: Callable[[_Sums], float], *, against_truth: bool = False) -> Measured:
        """A ratio of the estimates, with its standard error over the draws; over those of the truth if it is used."""
        kept, true = np.ones(len(self.draws)), np.ones(len(self.truth))
        variance = 0.0
        if self.noisy:
            variance += _spread([ratio(self.sums(each, true)) for each in _without_one(kept)])
        if against_truth and not self.truth_exact:
            variance += _spread([ratio(self.sums(kept, each)) for each in _without_one(true)])
        return Measured(ratio(self.sums(kept, true)), math.sqrt(variance))


def _square_of_mean(products: Square, weights: np.ndarray, exact: bool) -> float:
    """‖E g‖² without bias: over pairs of different draws."""
    if exact:
        return float(products[0, 0])
    n = weights.sum()
    return float((weights @ products @ weights - weights @ np.diag(products)) / (n * (n - 1)))


def _without_one(kept: np.ndarray) -> np.ndarray:
    return 1.0 - np.eye(len(kept)) if len(kept) > 2 else np.zeros((0, len(kept)))


def _spread(values: list[float]) -> float:
    """The jackknife's variance; NaN where some draws do not determine the value, or are too few."""
    n = len(values)
    if not n or not np.isfinite(values).all():
        return math.nan
    spread = float(np.std(values))
    largest = float(np.abs(values).max())
    return (n - 1) * spread**2 if spread > ROUNDING * largest else 0.0  # else it is an error of rounding


def _norm(sums: _Sums) -> float:
    return sums.norm


def _snr(sums: _Sums) -> float:
    noise = sums.square - sums.strength if sums.noisy else 0.0
    if abs(noise) <= ROUNDING * sums.square:  # all gradients were the same
        noise = 0.0
    return Signal(sums.strength, max(noise, 0.0)).snr


def _cosine(sums: _Sums) -> float:
    """NaN where the draws leave it open whether a mean differs from 0."""
    if min(sums.strength, sums.truth) <= 0:
        return math.nan
    return sums.cross / math.sqrt(sums.strength * sums.truth)


def _bias_square(sums: _Sums) -> float:
    if sums.truth <= 0:
        return math.nan
    return (sums.strength - 2 * sums.cross + sums.truth) / sums.truth


def _open_if_draws_leave_it(found: Measured) -> Measured:
    """Open where some of the draws alone would leave the value open, which is when it has no error."""
    return Measured(math.nan, math.nan) if math.isnan(found.error) else found


def _root(square: Measured) -> Measured:
    """The root of an estimate, which may have fallen below 0 by chance; its error is at most that at 0."""
    if math.isnan(square.value):
        return square
    value, most = math.sqrt(max(square.value, 0.0)), math.sqrt(square.error)
    return Measured(value, min(most, square.error / (2 * value)) if value > 0 else most)
