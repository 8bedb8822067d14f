"""Several finished runs as one: their distributions are averaged."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from structpred.config import digest
from structpred.distributions.protocols import Mean
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.runs.predictor import Predictor, check_alike
from structpred.runs.run import Run
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.training.data import Tokenizer


class EnsembleModule(nn.Module):
    """Several networks as one; called on inputs, it returns the mean of their distributions.

    Args:
        members: networks over the same inputs and labels, whose distributions have the verb `Mean`.
    """

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    @torch.no_grad()
    def forward(self, inputs: Sequences) -> Any:
        """The mean, without gradient."""
        first, *others = [member(inputs) for member in self.members]
        return type(first).mean((first, *others))


@dataclass(frozen=True)
class Ensemble(Predictor):
    """Finished runs that predict together: an average of their distributions, each with the same weight.

    A decoder's ensemble averages the probabilities of every next symbol, p(y_t | y_<t, x) = Σ_m p_m(y_t | y_<t, x) / M
    (as Sutskever et al. 2014, arXiv 1409.3215, and as is usual); a tagger's those of every label. The
    chain's is the log-linear mean, p ∝ Π_m p_m^(1/M), because an arithmetic mean of chains is no chain: it averages
    scores. Everything else follows from this one distribution, as for a run: `predict`, `n_best`, `evaluate`, decoding
    by any reward. An ensemble of one run is that run, bit for bit.

    Attributes:
        runs: finished runs, or their folders, of the same task, symbols and kind of model.
        experiment: that of the first run, whose decoding is the default.

    Raises:
        RunError: a folder holds no finished run.
        ConfigError: there are no runs, or two that differ in task, symbols or kind of model.
    """

    runs: tuple[Run, ...]
    experiment: Experiment = field(repr=False, compare=False)

    def __init__(self, runs: Iterable[Run | str | Path]) -> None:
        several = not isinstance(runs, str | bytes | Path | Run) and isinstance(runs, Iterable)
        given = tuple(runs) if several else ()
        if not given:
            raise ConfigError(f"an ensemble needs a list of at least one run, but got {runs!r}; write Ensemble([…])")
        members = tuple(run if isinstance(run, Run) else Run.load(run) for run in given)
        for other in members[1:]:
            check_alike(members[0], other, purpose="the runs of an ensemble", kind=_distribution)
        first, distribution = members[0], members[0].experiment.model.distribution
        if len(members) > 1 and not issubclass(distribution, Mean):
            raise ConfigError(
                f"an ensemble needs `mean`, which the {distribution.__name__} distribution of "
                f"{type(first.experiment.model).__name__} does not offer; add it, or use one run"
            )
        object.__setattr__(self, "runs", members)
        object.__setattr__(self, "experiment", first.experiment)

    def kept(self, name: str) -> bytes:
        """The content of a file that the task keeps in the first run's folder; see `Task.with_kept`."""
        return self.runs[0].kept(name)

    @property
    def codec(self) -> Tokenizer:
        """Maps symbols to tensors and back; equal for all runs."""
        return self.runs[0].codec

    @property
    def sizes(self) -> Sizes:
        """The sizes that the networks were built for."""
        return self.runs[0].sizes

    @cached_property
    def model(self) -> nn.Module:
        """The networks as one, on the CPU and in evaluation mode; called on `Sequences` it returns the mean."""
        if len(self.runs) == 1:
            return self.runs[0].model
        return EnsembleModule([run.model for run in self.runs]).eval()

    @property
    def identity(self) -> str:
        """The identity of the run if there is one, else a digest of all identities, whatever their order."""
        identities = sorted(run.result.identity for run in self.runs)
        return identities[0] if len(identities) == 1 else digest(identities)

    @property
    def name(self) -> str:
        """The folders, for messages."""
        return " + ".join(str(run.folder.path) for run in self.runs)

    @property
    def averages(self) -> str:
        """What is averaged, for messages."""
        distribution: Any = self.experiment.model.distribution
        return "nothing, as it is one run" if len(self.runs) == 1 else str(distribution.averages())


def _distribution(each: Predictor) -> str:
    return each.experiment.model.distribution.__name__
