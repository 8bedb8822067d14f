"""The gradient of −E_p[r], against which others are measured: exact, by enumeration, or by many draws."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from structpred.diagnosis.draws import Batch, Point, Wrt, gradient_of, gradients
from structpred.diagnosis.signal import Mean
from structpred.distributions import Autoregressive
from structpred.distributions.protocols import Distribution, Entropy, ExpectedScore
from structpred.objective import Objective
from structpred.registry import objectives
from structpred.rewards import Reward
from structpred.rewards.base import scores_of
from structpred.sequences import Sequences
from structpred.testing.spaces import as_candidates, strings

How = Literal["exact", "enumerated", "estimated"]

MOST_OUTPUTS = 4096
"""Outputs of an example that are enumerated, at most."""
SAMPLES = 16
"""Samples of an example in each of the draws that estimate the gradient elsewhere."""


@dataclass(frozen=True)
class Truth:
    """The gradient of −E_p[r] over `Batch.tokens`.

    Attributes:
        mean: the gradient, or draws that estimate it.
        how: ``"exact"`` in closed form, ``"enumerated"`` over all outputs, ``"estimated"`` from draws.
    """

    mean: Mean
    how: How


def expected_reward_gradient(
    reward: Reward, point: Point, batch: Batch, *, draws: int, seed: int = 0, wrt: Wrt = "weights"
) -> Truth:
    """The gradient of −E_p[r]: in closed form, else by enumeration, else from draws.

    Args:
        reward: r.
        point: the network.
        batch: inputs and references.
        draws: how many independent estimates are drawn where it can be neither computed nor enumerated; each is a
            REINFORCE gradient of 16 samples an example.
        seed: seeds these draws.
        wrt: as of `gradients`.
    """
    with torch.no_grad():
        p = point.network(batch.inputs)
    if reward.decomposes and isinstance(p, ExpectedScore) and isinstance(p, Entropy):
        exact = _objective("expected-reward", reward=reward)
        return Truth(Mean(gradients(exact, point, batch, draws=1, wrt=wrt).rows, exact=True), "exact")
    space = every_output(p, batch.targets)
    if space is not None:
        outputs, possible = space
        rewards = torch.where(possible, scores_of(reward, outputs, batch.targets).double(), 0.0)

        def risk(p: Any) -> Tensor:
            log_probs = torch.where(possible, p.log_prob(outputs).double(), -torch.inf)
            return -(log_probs.exp() * rewards).sum(1)

        found = gradient_of(risk, point, batch, wrt)
        return Truth(Mean(found.unsqueeze(0), exact=True), "enumerated")
    sampled = _objective("reinforce", reward=reward, samples=SAMPLES)
    # seeded apart: these must be independent of the gradients that are compared with them
    rows = gradients(sampled, point, batch, draws=draws, seed=seed + 2**32, wrt=wrt).rows
    return Truth(Mean(rows, exact=False), "estimated")


def every_output(p: Any, targets: Sequences) -> tuple[Sequences, Bool[Tensor, "batch outputs"]] | None:
    """All outputs that p can draw for some example, and which of them it can draw for each; None for too many.

    A decoder's outputs are the strings up to its limit and, cut, the prefixes just beyond it.
    """
    limits = _longest(p, targets)
    if limits is None:
        return None
    top = int(limits.max())
    lengths = sorted({int(n) for n in limits}) if p.fixed_length else range(top + 2)
    if sum(p.num_labels**length for length in lengths) > MOST_OUTPUTS:
        return None
    rows = [row for length in lengths for row in strings(p.num_labels, length, shortest=length)]
    outputs = as_candidates(rows, len(targets))
    if p.fixed_length:
        return outputs, outputs.lengths == limits.unsqueeze(1)
    ended = outputs.lengths <= limits.unsqueeze(1)
    return Sequences(outputs.labels, outputs.lengths, ended), outputs.lengths <= limits.unsqueeze(1) + 1


def _longest(p: Any, targets: Sequences) -> Tensor | None:
    """The length of each output where the input decides it, a decoder's limits, or None where neither is known."""
    if isinstance(p, Distribution) and p.fixed_length:
        return targets.lengths
    return p.decoder.limits if isinstance(p, Autoregressive) else None


def _objective(name: str, **fields: Any) -> Objective:
    made: Objective = objectives[name](**fields)
    return made
