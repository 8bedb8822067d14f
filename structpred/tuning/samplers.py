"""Who proposes parameters and who stops trials early."""

from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from structpred.seeds import stream
from structpred.tuning.search import Search
from structpred.tuning.trials import SLOT


def sampler(search: Search) -> BaseSampler:
    """The sampler of a study; under ``"grid"`` parameters come with the trials, and this draws what they lack."""
    make: Callable[[int], BaseSampler] = _tpe if search.sampler == "tpe" else RandomSampler
    return SlotSampler(make, search.draw)


def pruner(search: Search, epochs: int) -> BasePruner:
    """The pruner of a study whose trials take so many epochs."""
    if search.pruner == "median":
        return MedianPruner(n_startup_trials=5, n_warmup_steps=max(1, epochs // 4), n_min_trials=3)
    if search.pruner == "hyperband":
        return HyperbandPruner(min_resource=max(1, epochs // 9), max_resource=epochs)
    return NopPruner()


def _tpe(seed: int) -> BaseSampler:
    return TPESampler(seed=seed)


class SlotSampler(BaseSampler):
    """A fresh sampler for each trial, seeded by the trial's slot.

    So no two workers draw the same points, a restart does not draw once more what was drawn before, and one worker
    alone proposes the same trials each time.

    Args:
        make: a sampler from its seed, at most 32 bits.
        draw: the seed of the study.
    """

    def __init__(self, make: Callable[[int], BaseSampler], draw: int) -> None:
        self._make, self._draw = make, draw
        self._inner = make(0)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Begin afresh."""
        self._inner = self._make(stream(self._draw, "sampler", trial.user_attrs.get(SLOT)) % 2**32)
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """As the inner sampler says."""
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As the inner sampler says."""
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """As the inner sampler says."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Let the inner sampler note it."""
        self._inner.after_trial(study, trial, state, values)
