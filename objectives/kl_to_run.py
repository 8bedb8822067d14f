"""A penalty for leaving a trained model behind."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from structpred.distributions.protocols import CrossEntropy, Entropy, ExpectedScore, LogProb, Sample, kl
from structpred.errors import ConfigError
from structpred.objective import Losses, Objective, Requirement, StepContext
from structpred.objectives.distillation import Teacher, given_teacher, loaded_teacher
from structpred.objectives.estimators import Estimator, Exact, Sampled
from structpred.registry import objectives
from structpred.runs import Run
from structpred.sequences import Sequences
from structpred.task import Sizes

SAMPLED = "estimator=Sampled(k=4)"


def leave_one_out(log_ratios: Float[Tensor, "batch candidates"]) -> Float[Tensor, " batch"]:
    """The mean of log p − log q over samples of p, with the gradient of KL(p‖q) in expectation.

    ∇KL = E_p[(log p − log q − b) ∇log p], with b the mean over the other samples.

    Examples:
        >>> leave_one_out(torch.tensor([[1.0, 3.0]])).tolist()
        [2.0]
    """
    given = log_ratios.detach()
    others = (given.sum(1, keepdim=True) - given) / (given.shape[1] - 1)
    loss = ((given - others) * log_ratios).mean(1)
    return loss - loss.detach() + given.mean(1)


@objectives.register("kl-to-run")
@dataclass(frozen=True, kw_only=True)
class KLToRun(Objective):
    """KL(p‖q) in nats, with q(y|x) the distribution of a finished run: a term that keeps p near where it started.

    The penalty of reinforcement learning from a pretrained model (Jaques et al. 2017, arXiv 1611.02796; Ziegler et al.
    2019, arXiv 1909.08593, equation 2). Add it to any objective by `WeightedSum`, with the run that training starts
    from. It does not use the reference. The other direction, KL(q‖p), is `Distillation`.

    With `Exact` it is in closed form, on taggers and chains. With `Sampled` the gradient is estimated from k samples of
    p by the score function and the mean of the other samples, without bias. The estimator that GRPO adds to its loss,
    q/p − 1 − log(q/p), has KL(p‖q) as its mean, but its derivative has the gradient of KL(q‖p) as its mean.

    Attributes:
        run: the folder of a finished run with the same symbols; as written, it is part of a run's identity, beside the
            identity of that run.
        estimator: `Exact`, or `Sampled` with at least 2 samples.
    """

    requires = ()  # the estimator determines what p must offer
    instead = SAMPLED
    draws_in_step = True
    learns_from = "run"

    run: str
    estimator: Estimator = Sampled(k=4)

    def check(self) -> None:
        """Refuse other estimators, and a single sample."""
        if not isinstance(self.estimator, (Exact, Sampled)):
            given = type(self.estimator).__name__
            raise ConfigError(f"KLToRun.estimator must be Exact() or Sampled(k=4), but got {given}()")
        if self.estimator.drawn == 1:
            raise ConfigError(
                "KLToRun compares a sample with the others, so it needs at least 2, but got estimator=Sampled(k=1); "
                f"use {SAMPLED}"
            )

    @classmethod
    def examples(cls) -> tuple["KLToRun", ...]:
        """With both estimators; the run is not loaded until training begins."""
        return cls(run="runs/start"), cls(run="runs/start", estimator=Exact())

    @property
    def exact(self) -> bool:
        """True if the estimator is exact."""
        return self.estimator.exact

    def fingerprint(self) -> tuple[str, ...]:
        """The identity of the run."""
        return (Run.load(self.run).result.identity,)

    def requirements(self) -> tuple[Requirement, ...]:
        """Closed forms, or samples."""
        verbs: tuple[type, ...] = (ExpectedScore, Entropy) if self.exact else (Sample, LogProb)
        purpose = f"KLToRun with {type(self.estimator).__name__}()"
        return tuple(Requirement(verb, purpose, SAMPLED if self.exact else "") for verb in verbs)

    def state(self, sizes: Sizes) -> Teacher:
        """The run's network.

        Raises:
            RunError: its folder holds no finished run.
            ConfigError: it was trained on other symbols, or lacks a verb.
        """
        verb: type = CrossEntropy if self.exact else LogProb
        return loaded_teacher(self.run, sizes, (verb,), f"KLToRun with {type(self.estimator).__name__}()", SAMPLED)

    def losses(self, p: Any, targets: Sequences, context: StepContext) -> Losses:
        """The divergence of each example, or its estimate."""
        del targets
        q = given_teacher(self, self.run, p, context)
        if self.exact:
            return Losses(kl(p, q))
        outputs = p.sample(self.estimator.drawn, context.generator)
        with torch.no_grad():
            log_q = q.log_prob(outputs)
        return Losses(leave_one_out(p.log_prob(outputs) - log_q))
