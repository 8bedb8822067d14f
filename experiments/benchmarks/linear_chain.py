"""How fast is a linear chain, and how exact in float32, against torchcrf on the same scores and parameters?"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torchcrf
from torch import Tensor

from structpred.distributions import LinearChain
from structpred.experiments.benchmarks.measuring import Figures, paired, standalone, without_options
from structpred.sequences import Sequences

SHAPES = ((64, 25, 50), (64, 100, 23), (64, 100, 50))
"""Batch, longest output and labels; lengths are uniform from half the longest on."""
SCALES = (1.0, 10.0, 100.0)
"""Of scores and transitions alike, for the errors."""
REPEATS = 15


@dataclass(frozen=True)
class Problem:
    """Random scores and labels, as both sides take them."""

    crf: torchcrf.CRF
    unary: Tensor
    targets: Sequences

    @classmethod
    def random(cls, batch: int, time: int, labels: int, scale: float = 1.0) -> "Problem":
        """Normally distributed scores; transitions as torchcrf initialises them at scale 1, times the scale."""
        torch.manual_seed(0)
        crf = torchcrf.CRF(labels, batch_first=True)
        with torch.no_grad():
            for parameter in crf.parameters():
                parameter.mul_(scale * 10 if scale > 1 else 1)
        lengths = torch.randint(time // 2, time + 1, (batch,))
        inside = torch.arange(time) < lengths.unsqueeze(1)
        targets = Sequences(torch.where(inside, torch.randint(labels, (batch, time)), 0), lengths)
        return cls(crf, (torch.randn(batch, time, labels) * scale).requires_grad_(), targets)

    def chain(self, dtype: torch.dtype = torch.float32) -> LinearChain:
        """Ours."""
        pairs, start, end = self.crf.transitions, self.crf.start_transitions, self.crf.end_transitions
        unary = self.unary.to(dtype)
        return LinearChain.with_ends(unary, pairs.to(dtype), start.to(dtype), end.to(dtype), self.targets.lengths)

    def log_probs(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """Log-likelihoods, ours."""
        return self.chain(dtype).log_prob(self.targets.candidates()).squeeze(1)

    def their_log_probs(self) -> Tensor:
        """Log-likelihoods, theirs."""
        found: Tensor = self.crf(self.unary, self.targets.labels, self.targets.mask(), reduction="none")
        return found

    @torch.no_grad()
    def argmax(self) -> list[list[int]]:
        """Ours."""
        return self.chain().argmax().tolist()

    @torch.no_grad()
    def their_argmax(self) -> list[list[int]]:
        """Theirs."""
        found: list[list[int]] = self.crf.decode(self.unary, self.targets.mask())
        return found


def step(log_probs: Callable[[], Tensor]) -> None:
    """What training does with log-likelihoods."""
    torch.autograd.backward(-log_probs().sum())


def error(found: Tensor, exact: Tensor) -> float:
    """The largest relative error."""
    return float((found.double() / exact - 1).abs().max())


def main() -> Figures:
    """Measure."""
    without_options()
    figures: Figures = {}
    for shape in SHAPES:
        problem, name = Problem.random(*shape), "x".join(map(str, shape))
        assert problem.argmax() == problem.their_argmax()
        likelihood = partial(step, problem.log_probs), partial(step, problem.their_log_probs)
        for what, sides in (("likelihood", likelihood), ("argmax", (problem.argmax, problem.their_argmax))):
            medians = paired(sides[0], sides[1], REPEATS)
            figures[f"{what}_ms_{name}"] = 1000 * medians.first
            figures[f"torchcrf_{what}_ms_{name}"] = 1000 * medians.second
            figures[f"{what}_to_torchcrf_{name}"] = medians.ratio
    for scale in SCALES:
        problem = Problem.random(64, 100, 23, scale)
        with torch.no_grad():
            exact = problem.log_probs(torch.float64)
            figures[f"relative_error_scale_{scale:g}"] = error(problem.log_probs(), exact)
            figures[f"torchcrf_relative_error_scale_{scale:g}"] = error(problem.their_log_probs(), exact)
    return figures


if __name__ == "__main__":
    standalone(main)
