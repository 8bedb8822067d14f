"""The mathematics of the objectives as functions of tensors and distributions.

Each function is defined next to the objective that uses it, with its formula and an example. Some quantities are verbs
of a distribution instead: likelihood is ``-p.log_prob(outputs)``, and cross-entropies and divergences in closed form
are `structpred.distributions.protocols.cross_entropy` and `structpred.distributions.protocols.kl`.

Examples:
    >>> import torch
    >>> surrogate(torch.tensor([[[-1.0], [-2.0]]]), torch.tensor([[[0.5], [-0.5]]]))
    tensor([-0.2500])
"""

from structpred.objectives.candidate_hinge import margins, violation
from structpred.objectives.data_noising import noised
from structpred.objectives.distillation import per_position
from structpred.objectives.estimators import distinct
from structpred.objectives.label_smoothing import smoothed_cross_entropy
from structpred.objectives.max_margin import costs, margin
from structpred.objectives.minimum_risk import renormalised
from structpred.objectives.mixer import advantages, forced_steps
from structpred.objectives.optimal_completion import excess_edits, optimal_policy, policy_divergence
from structpred.objectives.reinforce import still_to_come, surrogate
from structpred.objectives.switch_out import switched

__all__ = [
    "advantages",
    "costs",
    "distinct",
    "excess_edits",
    "forced_steps",
    "margin",
    "margins",
    "noised",
    "optimal_policy",
    "per_position",
    "policy_divergence",
    "renormalised",
    "smoothed_cross_entropy",
    "still_to_come",
    "surrogate",
    "switched",
    "violation",
]
