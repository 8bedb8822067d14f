"""Says in words, once a run, that self-normalised importance weights are poor."""

import warnings
from collections.abc import Sequence

from structpred.results import Epoch

POOR = 0.1
"""Mean of (effective sample size − 1)/(k − 1) below which weights are poor: one draw has nearly all the weight."""


class PoorWeightsWarning(UserWarning):
    """Nearly all of the weight falls on one of an example's draws, so that the other draws are wasted."""


def warn_of_poor_weights(history: Sequence[Epoch]) -> None:
    """Warn where the last epoch is the first whose weights are poor.

    Args:
        history: the run so far; that is all there is to remember, so a run that is resumed warns once as well.
    """
    *before, now = ([name for name, share in _shares(epoch).items() if share < POOR] for epoch in history)
    if not now or any(before):
        return
    prefix = now[0].removesuffix("effective_share")
    effective = history[-1].diagnostics[f"{prefix}effective_samples"]
    warnings.warn(
        f"importance weights are poor: the effective sample size is {effective:.2f} on average, so of an example's "
        "draws one output has nearly all the weight; raise the payoff's temperature, choose a base measure that draws "
        "more different outputs of high reward, or draw more",
        PoorWeightsWarning,
        stacklevel=2,
    )


def _shares(epoch: Epoch) -> dict[str, float]:
    """By the full name: a sum of objectives puts the names of its parts before it."""
    return {name: value for name, value in epoch.diagnostics.items() if name.split("/")[-1] == "effective_share"}
