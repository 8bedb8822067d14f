"""One method under two names."""

from dataclasses import replace

import pytest

from structpred.comparison.equivalents import equivalents
from structpred.experiment import Experiment
from structpred.experiments import letter_tagging, part_of_speech
from structpred.models import LSTMTagger
from structpred.objectives import RML, Exact, LabelSmoothing, MaximumLikelihood
from structpred.payoffs import HammingPayoff, Temperature
from structpred.tasks import LetterTagging
from tests.support.reports import ML, a_report

BASE = Experiment(task=LetterTagging(), model=LSTMTagger(), objective=MaximumLikelihood())
EXACT = RML(payoff=HammingPayoff(temperature=Temperature(edit_rate=0.1)), estimator=Exact())
OTHERS = LabelSmoothing(epsilon=0.1, mass="others")


def test_the_same_experiment_under_two_names_is_pointed_out() -> None:
    arms = {"ML": BASE, "RML": replace(BASE, objective=EXACT, seed=3), "smoothing": replace(BASE, objective=OTHERS)}
    assert equivalents(arms) == (
        "RML is label smoothing (epsilon 0.1, mass others) under another name: on LSTMTagger the two "
        "have the same loss and gradient. It is the same experiment as smoothing, so their scores differ by rounding "
        "alone.",
    )


def test_one_method_with_two_settings_is_pointed_out() -> None:
    (said,) = equivalents(part_of_speech.experiments())
    assert said.startswith("RML is label smoothing (epsilon 0.02, mass others) under another name")
    assert said.endswith(" It and smoothing are one method with different settings, not different methods.")


def test_a_chain_has_no_other_name() -> None:
    (said,) = equivalents(letter_tagging.experiments())
    assert said.startswith("tagger RML is label smoothing (")
    assert "chain" not in said


@pytest.mark.parametrize("other", [replace(BASE, objective=OTHERS, model=LSTMTagger(hidden=64)), BASE])
def test_arms_of_another_model_or_method_are_not_alike(other: Experiment) -> None:
    (said,) = equivalents({"RML": replace(BASE, objective=EXACT), "other": other})
    assert "other" not in said.replace("another name", "").replace("mass others", "")


def test_a_report_says_so() -> None:
    report = a_report(ML=ML, RML=ML)
    assert not any("under another name" in sentence for sentence in report.conclusion())
    named = replace(report, arms={"ML": BASE, "RML": replace(BASE, objective=EXACT)})
    assert "RML is label smoothing (epsilon 0.1, mass others) under another name" in named.conclusion()[-1]
