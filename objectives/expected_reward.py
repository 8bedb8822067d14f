"""The expected reward, exactly."""

from dataclasses import dataclass
from typing import Annotated, Protocol, runtime_checkable

from structpred.distributions.protocols import Distribution, Entropy, Expected, ExpectedScore, LocalScores
from structpred.errors import ConfigError
from structpred.objective import Losses, Objective, StepContext
from structpred.registry import objectives, rewards
from structpred.rewards import Hamming, Reward
from structpred.rewards.base import costs_of, scores_of
from structpred.sequences import Sequences
from structpred.values import Interval

INSTEAD = "REINFORCE or MinimumRisk, which sample and take any reward"


@runtime_checkable
class Closed(Distribution, Expected, Protocol):
    """A distribution that has, in closed form, its entropy and the expectations of sums over positions."""


@objectives.register("expected-reward")
@dataclass(frozen=True, kw_only=True)
class ExpectedReward(Objective):
    """−E_p[r(y, y*)] − τ H(p), in units of reward: L_RL(τ) of Norouzi et al. 2016 (arXiv 1609.00150), exactly.

    It equals τ KL(p‖q) − τ log Z_q with the payoff distribution q(y|y*) = exp(r(y, y*)/τ) / Z_q, where RML minimises
    KL(q‖p). The reward is a sum over positions, so its expectation needs only the marginals of p: no samples, no
    baseline, no variance.

    Attributes:
        reward: r, a sum over positions.
        temperature: τ as in the formula; 0 gives the plain expected reward.
    """

    requires = (ExpectedScore, Entropy)
    instead = INSTEAD

    reward: Reward = Hamming()
    temperature: Annotated[float, Interval(least=0)] = 0.0

    def check(self) -> None:
        """Refuse a reward that is not a sum over positions."""
        if not self.reward.decomposes:
            able = [name for name in rewards if rewards[name].decomposes]  # type: ignore[attr-defined]
            raise ConfigError(
                f"ExpectedReward needs a reward that is a sum over positions, but {type(self.reward).__name__} is not; "
                f"use such a reward ({', '.join(able)}), or {INSTEAD}"
            )

    def losses(self, p: Closed, targets: Sequences, context: StepContext) -> Losses:
        """−E_p[r] − τ H(p) of each example; diagnostics: the expected reward, and the entropy in nats."""
        del context
        costs = costs_of(self.reward, targets, p.num_labels)
        best = scores_of(self.reward, targets.candidates(), targets).squeeze(1)
        expected = best - p.expected_score(LocalScores(costs, targets.lengths))
        entropy = p.entropy()
        shown = {"reward": expected.detach(), "entropy": entropy.detach()}
        return Losses(-expected - self.temperature * entropy, shown)
