"""Checks for objectives, rewards, payoffs and models of your own: the ones that ours have to pass.

Each is a function that raises `AssertionError` with a sentence where a property does not hold; call it from a test.
"""

from structpred.testing.models import check_model
from structpred.testing.objectives import check_objective, expected_gradient
from structpred.testing.payoffs import check_payoff
from structpred.testing.rewards import check_reward

__all__ = ["check_model", "check_objective", "check_payoff", "check_reward", "expected_gradient"]
