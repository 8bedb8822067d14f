"""Preference losses over the best and the worst of some candidates: DPO and CPO."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from structpred.distributions.protocols import LogProb
from structpred.objective import Losses, Objective, Requirement, StepContext
from structpred.objectives.candidates import Candidates, CandidateSet, Samples, collapse_diagnostics, refuse_one_alone
from structpred.objectives.distillation import Teacher, given_teacher, loaded_teacher
from structpred.registry import objectives
from structpred.rewards import EditDistance, Reward
from structpred.rewards.base import scores_of
from structpred.runs import Run
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.values import Interval, Positive


@dataclass(frozen=True)
class Pairs:
    """The best and the worst candidate of each example.

    Attributes:
        outputs: the two, the best first, ``[batch, 2, time]``.
        differ: True where the best has a higher reward; there is no preference elsewhere.
        diagnostics: of the candidates that they come from.
    """

    outputs: Sequences
    differ: Bool[Tensor, " batch"]
    diagnostics: dict[str, Float[Tensor, " batch"]]


@torch.no_grad()
def ranked_pairs(found: Candidates, reward: Reward, targets: Sequences) -> Pairs:
    """Rank candidates by the reward; of several with the same the first counts."""
    rewards = scores_of(reward, found.outputs, targets)
    best = rewards.masked_fill(~found.mask, -torch.inf).max(1)
    worst = rewards.masked_fill(~found.mask, torch.inf).min(1)
    places = torch.stack([best.indices, worst.indices], 1)
    shown = collapse_diagnostics(found.outputs, rewards, targets, found.mask)
    return Pairs(chosen(found.outputs, places), best.values > worst.values, shown)


def chosen(outputs: Sequences, places: Tensor) -> Sequences:
    """The candidates at some places ``[batch, places]``."""
    labels = outputs.labels.gather(1, places.unsqueeze(-1).expand(-1, -1, outputs.labels.shape[-1]))
    ended = None if outputs.ended is None else outputs.ended.gather(1, places)
    return Sequences(labels, outputs.lengths.gather(1, places), ended)


def preference(margin: Float[Tensor, " batch"], differ: Bool[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """−log σ(margin), the Bradley–Terry loss, in nats; 0 where there is no preference.

    Examples:
        >>> preference(torch.tensor([0.0, 5.0]), torch.tensor([True, False])).tolist()
        [0.6931471824645996, 0.0]
    """
    return torch.where(differ, -logsigmoid(margin), 0.0)


@objectives.register("dpo")
@dataclass(frozen=True, kw_only=True)
class DPO(Objective):
    """−log σ(β [log p(w)/q(w) − log p(l)/q(l)]): the better candidate w against the worse one l, measured from a run q.

    Direct preference optimisation: Rafailov et al. 2023, arXiv 2305.18290, equation 7. Candidates come from q, by
    default 4 draws, and the reward decides which is the best and which the worst of them, as with candidates ranked by
    a metric (Yang et al. 2024, arXiv 2311.08380). Where all rewards tie there is no pair and no loss. The paper's pairs
    are written down once; ours are drawn anew in each step from the same law.

    The gradient is −β σ(−margin) (∇ log p(w) − ∇ log p(l)): at the start, where p = q, half of β times the difference.
    It uses the order of rewards and not their size, so it estimates no expected reward.

    Attributes:
        run: q: the folder of a finished run with the same symbols, usually the one that training starts from; as
            written, it is part of a run's identity, beside the identity of that run.
        reward: r, which ranks.
        candidates: the set under q.
        beta: β.
    """

    requires = (LogProb,)
    draws_in_step = True
    exact: ClassVar[bool] = False  # the set does not contain every output
    learns_from = "run"

    run: str
    reward: Reward = EditDistance()
    candidates: CandidateSet = Samples(k=4, reference="left out")
    beta: Positive = 0.1

    def check(self) -> None:
        """Refuse a set of one candidate."""
        refuse_one_alone("DPO", self.candidates)

    @classmethod
    def examples(cls) -> tuple["DPO", ...]:
        """The run is not loaded until training begins."""
        return (cls(run="runs/start"),)

    def requirements(self) -> tuple[Requirement, ...]:
        """Only ``log_prob``: the candidates are asked of the run."""
        return (Requirement(LogProb, "DPO"),)

    def fingerprint(self) -> tuple[str, ...]:
        """The identity of the run."""
        return (Run.load(self.run).result.identity,)

    def state(self, sizes: Sizes) -> Teacher:
        """The run's network.

        Raises:
            RunError: its folder holds no finished run.
            ConfigError: it was trained on other symbols, or lacks a verb.
        """
        verbs = (LogProb, *self.candidates.requires)
        purpose = f"DPO with {type(self.candidates).__name__}()"
        return loaded_teacher(self.run, sizes, verbs, purpose, self.candidates.instead or "another run")

    def losses(self, p: Any, targets: Sequences, context: StepContext) -> Losses:
        """The loss of each example, with `collapse_diagnostics` of the candidates and ``preferred``.

        ``preferred`` is 1 where p has raised the better one more than the worse one, since q.
        """
        q = given_teacher(self, self.run, p, context)
        pairs = ranked_pairs(self.candidates.draw(q, targets, context.generator), self.reward, targets)
        with torch.no_grad():
            start = q.log_prob(pairs.outputs)
        raised = p.log_prob(pairs.outputs) - start
        margin = self.beta * (raised[:, 0] - raised[:, 1])
        preferred = ((margin.detach() > 0) & pairs.differ).to(margin.dtype)
        return Losses(preference(margin, pairs.differ), pairs.diagnostics | {"preferred": preferred})


@objectives.register("cpo")
@dataclass(frozen=True, kw_only=True)
class CPO(Objective):
    """−log σ(β [log p(w) − log p(l)]) − λ log p(w): `DPO` with a uniform q, and likelihood of the better candidate w.

    Contrastive preference optimisation: Xu et al. 2024, arXiv 2401.08417, equations 3 to 5. w and l are the best and
    the worst by the reward of a candidate set, by default 4 draws from p and the reference; the paper's are written
    down once, of two systems and the reference. Where all rewards tie the first term is 0, and w is the first
    candidate.

    Attributes:
        reward: r, which ranks.
        candidates: the set, under p.
        beta: β.
        ml_weight: λ, the weight of the likelihood of w; 1 in the paper.
    """

    requires = (LogProb,)
    draws_in_step = True
    exact: ClassVar[bool] = False  # the set does not contain every output

    reward: Reward = EditDistance()
    candidates: CandidateSet = Samples(k=4)
    beta: Positive = 0.1
    ml_weight: Annotated[float, Interval(least=0)] = 1.0

    def check(self) -> None:
        """Refuse a set of one candidate."""
        refuse_one_alone("CPO", self.candidates)

    def losses(self, p: Any, targets: Sequences, context: StepContext) -> Losses:
        """The loss of each example, with `collapse_diagnostics` of the candidates."""
        pairs = ranked_pairs(self.candidates.draw(p, targets, context.generator), self.reward, targets)
        log_probs = p.log_prob(pairs.outputs)
        loss = preference(self.beta * (log_probs[:, 0] - log_probs[:, 1]), pairs.differ)
        return Losses(loss - self.ml_weight * log_probs[:, 0], pairs.diagnostics)
