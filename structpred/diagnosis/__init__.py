"""How noisy the gradients of objectives are, and how far they point from that of the expected reward.

`diagnose` looks at a run, or at the fresh model of an experiment. Its parts serve on their own: `rml_on_scores` and
`reinforce_on_scores` are closed forms, `gradients` draws gradients of any objective, and `quality` says what they are
worth against `expected_reward_gradient`.
"""

from structpred.diagnosis.divergence import Divergences, divergences
from structpred.diagnosis.draws import Batch, Gradients, Point, gradients
from structpred.diagnosis.expected_reward import Truth, expected_reward_gradient
from structpred.diagnosis.on_scores import leave_one_out_noise, reinforce_on_scores, rml_on_scores
from structpred.diagnosis.runner import Diagnosis, Row, Settings, diagnose
from structpred.diagnosis.selection import choices, usual_payoff, usual_reward
from structpred.diagnosis.signal import Mean, Measured, Quality, Signal, quality

__all__ = [
    "Batch",
    "Diagnosis",
    "Divergences",
    "Gradients",
    "Mean",
    "Measured",
    "Point",
    "Quality",
    "Row",
    "Settings",
    "Signal",
    "Truth",
    "choices",
    "diagnose",
    "divergences",
    "expected_reward_gradient",
    "gradients",
    "leave_one_out_noise",
    "quality",
    "reinforce_on_scores",
    "rml_on_scores",
    "usual_payoff",
    "usual_reward",
]
