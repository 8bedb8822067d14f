"""Words such as ``objective.epsilon=0.2``, and what is said about wrong ones."""

import json
from dataclasses import replace

import pytest

from structpred.cli import assignments
from structpred.distributions.protocols import Decoding
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.models import CRF, LSTMTagger, Seq2Seq
from structpred.objectives import RML, LabelSmoothing, MaximumLikelihood, MinimumRisk
from structpred.payoffs import EditDistancePayoff, HammingPayoff, Temperature
from structpred.rewards import SentenceChrf, SentenceTer, WeightedReward, WeightedRewards
from structpred.tasks import JsonLines, LetterTagging, Pronunciation, Tsv
from structpred.training import Adam, Constant, Trainer

TEMPERATURE = "objective.payoff.temperature"
DEFAULT = Experiment(task=Pronunciation(), model=Seq2Seq(), objective=MaximumLikelihood())

CHRF_AND_TER = WeightedRewards(
    parts=(WeightedReward(reward=SentenceChrf()), WeightedReward(reward=SentenceTer(normalized=True), weight=2))
)

PARTS = [{"reward": "chrf"}, {"reward": {"type": "ter", "normalized": True}, "weight": 2}]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], DEFAULT),
        (["seed=3", "trainer.epochs=7"], replace(DEFAULT, seed=3, trainer=Trainer(epochs=7))),
        (["optimiser.lr=.005"], replace(DEFAULT, optimiser=Adam(lr=0.005))),
        (
            ["objective=rml", f"{TEMPERATURE}.literal=null", f"{TEMPERATURE}.edit_rate=0.1"],
            replace(DEFAULT, objective=RML(payoff=EditDistancePayoff(temperature=Temperature(edit_rate=0.1)))),
        ),
        (["trainer.patience=null"], DEFAULT),
        (["trainer.precision=bf16"], replace(DEFAULT, trainer=Trainer(precision="bf16"))),
        (
            ["objective=label-smoothing", "objective.epsilon=0.2"],
            replace(DEFAULT, objective=LabelSmoothing(epsilon=0.2)),
        ),
        (
            ["objective=rml", "objective.payoff=hamming", "objective.payoff.temperature.literal=1"],
            replace(DEFAULT, objective=RML(payoff=HammingPayoff(temperature=Temperature(literal=1.0)))),
        ),
        (
            ["objective=rml", "objective.payoff.temperature.edit_rate=0.1"],
            replace(DEFAULT, objective=RML(payoff=EditDistancePayoff(temperature=Temperature(edit_rate=0.1)))),
        ),
        (["optimiser.schedule=constant"], replace(DEFAULT, optimiser=Adam(schedule=Constant()))),
        (["task=tsv", "task.train=1"], replace(DEFAULT, task=Tsv(train="1"))),
        (["task=tsv", "task.train=a=b", "task.dev=null"], replace(DEFAULT, task=Tsv(train="a=b"))),
        (
            ["task=json-lines", "task.train=a", 'task.metadata=["id", "domain"]'],
            replace(DEFAULT, task=JsonLines(train="a", metadata=("id", "domain"))),
        ),
        (
            [
                "objective=minimum-risk",
                "objective.reward=weighted",
                f"objective.reward.parts={json.dumps(PARTS)}",
            ],
            replace(DEFAULT, objective=MinimumRisk(reward=CHRF_AND_TER)),
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_words_make_the_experiment_they_name(words: list[str], expected: Experiment) -> None:
    assert assignments.experiment(words) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trainer"], r"expected field=value, such as trainer\.epochs=10, but got 'trainer'"),
        (["=3"], r"expected field=value, .* but got '=3'"),
        (["trainer.epoch=3"], r"trainer\.epoch: Trainer has no field 'epoch'; did you mean 'epochs'\?"),
        (["objectve=rml"], r"Experiment has no field 'objectve'; did you mean 'objective'\?"),
        (["objective=rlm"], r"there is no objective named 'rlm'; did you mean 'rml'\?"),
        (["objective.payoff=hamming"], r"MaximumLikelihood has no field 'payoff'"),
        (["seed.x=3"], r"seed\.x: 'seed' of Experiment has no fields of its own"),
        (["trainer.epochs=0"], r"^trainer\.epochs must be at least 1, but got 0"),
        (["trainer.epochs=many"], r"^trainer\.epochs must be a whole number, but got 'many'"),
        (["trainer.precision=fp23"], r"^trainer\.precision must be one of .* did you mean 'fp32'\?"),
        (["objective=rml", "objective.payoff.temperature.literal=0"], r"temperature\.literal must be above 0"),
        (["objective=rml", "objective.estimator.k=0"], r"^objective\.estimator\.k must be at least 1, but got 0"),
        (["task=tsv"], r"needs a value for 'train'"),
        (["trainer.epochs=1e400"], r"^trainer\.epochs must be a whole number, but got inf"),
        (["seed=NaN"], r"^seed must be a whole number, but got nan"),
        (["trainer.epochs=1_0"], r"^trainer\.epochs must be a whole number, but got '1_0'"),
        (["trainer.epochs=٣"], r"^trainer\.epochs must be a whole number, but got '٣'"),
        ([f"model.hidden={2**63}"], r"^model\.hidden must be a whole number of at most 64 bits, but got 92233720"),
        (["model.hidden=" + "[" * 50000], r"^model\.hidden must be a whole number, but got '\[\[\["),
        (["seed=1", "seed=1"], r"^seed is assigned twice, by 'seed=1' and by 'seed=1'; leave one out"),
        (["task=tsv", "task=pronunciation"], r"^task is assigned twice, by 'task=tsv' and by 'task=pronunciation'"),
        (["model.hidden=3", "model=linear-chain"], r"'model=linear-chain' would undo 'model\.hidden=3' before it; put"),
        (
            ["objective=rml", f"{TEMPERATURE}.edit_rate=0.1", f"{TEMPERATURE}.literal=0.2"],
            rf"^{TEMPERATURE} takes one of literal, rescaled, edit_rate, but got '{TEMPERATURE}\.edit_rate=0\.1' and '",
        ),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_a_wrong_word_is_refused_in_a_sentence(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        assignments.experiment(words)


def test_every_arm_gets_the_assignments_and_keeps_the_rest() -> None:
    arms = {"ML": DEFAULT, "RML": replace(DEFAULT, objective=RML())}
    changed = assignments.arms(["trainer.epochs=2"], arms)
    assert changed == {name: replace(arm, trainer=Trainer(epochs=2)) for name, arm in arms.items()}


CHAIN = replace(DEFAULT, task=LetterTagging(), model=CRF())


@pytest.mark.parametrize(
    ("base", "words", "reason"),
    [
        (CHAIN, ["decoding.beam=3"], "of CRF: the most probable output is found exactly, without a beam"),
        (replace(CHAIN, model=LSTMTagger()), ["decoding.length_penalty=1"], "of LSTMTagger: the most probable output"),
        (CHAIN, ["decoding.rule=hamming", "decoding.beam=3"], "the most probable label at each position is found"),
        (CHAIN, ["decoding.reward=hamming", "decoding.num_candidates=3"], "the most probable label at each position"),
        (DEFAULT, ["decoding.reward=edit-distance", "decoding.beam=3"], "chosen among num_candidates candidates"),
        (DEFAULT, ["decoding.beam=1", "decoding.length_penalty=1"], "of Seq2Seq: greedy search ranks no outputs"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_a_setting_of_the_decoding_without_effect_is_refused(base: Experiment, words: list[str], reason: str) -> None:
    with pytest.raises(ConfigError, match=rf"^'{words[-1]}' has no effect on the outputs .*{reason}.*; leave it out$"):
        assignments.experiment(words, base)


def test_settings_of_the_decoding_that_have_an_effect_are_taken() -> None:
    wide = assignments.experiment(["decoding.beam=3", "decoding.length_penalty=1"], DEFAULT)
    assert wide.decoding == Decoding(beam=3, length_penalty=1.0)
    risk = assignments.experiment(["decoding.reward=edit-distance", "decoding.num_candidates=3"], CHAIN)
    assert risk.decoding.num_candidates == 3
    mixed = assignments.arms(["decoding.beam=3"], {"one": CHAIN, "other": DEFAULT})
    assert [arm.decoding.beam for arm in mixed.values()] == [3, 3], "it has an effect on one of them"
    assert assignments.experiment(["decoding.beam=5"], CHAIN) == CHAIN, "it changes nothing"
    assert assignments.experiment(["decoding.reward=null"], risk) == CHAIN, "candidates are those of the reward"
    with pytest.raises(ConfigError, match="but there is no reward; add one"):
        assignments.experiment(["decoding.reward=null", "decoding.num_candidates=3"], risk)
    with pytest.raises(ConfigError, match=r"^'decoding\.beam=3' has no effect on the outputs of CRF"):
        assignments.arms(["decoding.beam=3"], {"one": CHAIN, "other": replace(CHAIN, seed=1)})
