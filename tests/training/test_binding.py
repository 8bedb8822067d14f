"""Rewards that read symbols, text and examples, in training: what they see, and that seeing it changes nothing else."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rapidfuzz.distance import Levenshtein

from structpred.comparison.runner import compare
from structpred.config import encode
from structpred.errors import CodeError, ConfigError, Interrupted
from structpred.experiment import Experiment
from structpred.models import Seq2Seq
from structpred.objective import Losses, Objective, StepContext
from structpred.objectives import (
    REINFORCE,
    RML,
    CandidateHinge,
    Greedy,
    MaximumLikelihood,
    MinimumRisk,
    Mixer,
    Point,
    Samples,
    SelfNormalised,
    Switch,
    Weighted,
    WeightedSum,
)
from structpred.payoffs import HammingPayoff, ReweightedPayoff, Temperature
from structpred.registry import objectives
from structpred.rewards import (
    EditDistance,
    FunctionReward,
    Reward,
    SentenceChrf,
    SentenceGleu,
    SentenceTer,
    WeightedReward,
    WeightedRewards,
)
from structpred.rewards.base import scores_of
from structpred.rewards.reading import asks_for_examples
from structpred.runs import Run, train
from structpred.sequences import Sequences, spelt
from structpred.training import Adam, Trainer, checkpoint
from structpred.training.batching import EpochPlan
from structpred.training.data import EncodedData
from structpred.training.monitoring import ignore
from structpred.training.trainer import Training
from tests.support.tiny import Copying

HERE = __name__
TINY = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=8, hidden=8, dropout=0.1, length_ratio=1.0, length_extra=2),
    objective=REINFORCE(),
    optimiser=Adam(lr=1e-2),
    trainer=Trainer(epochs=2, batch_tokens=40),
)
DATA = TINY.task.load()

SEEN: list[tuple[Any, Any, Any]] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    SEEN.clear()


def closeness(output: Sequence[Any], reference: Sequence[Any]) -> float:
    """What `EditDistance` is, whatever stands for a label."""
    return -float(Levenshtein.distance(output, reference))


def watching(output: Any, reference: Any, *, source: list[str]) -> float:
    SEEN.append((output, reference, source))
    return closeness(output, reference)


def failing(output: str, reference: str, *, metadata: dict[str, float]) -> float:
    return metadata["no such key"]


def without_end(output: str, reference: str) -> float:
    return float("inf") if output else 0.0


def three(output: str, reference: str, third: str) -> float:
    return 0.0


def function(f: Callable[..., float], on: Any = "text", **fields: Any) -> FunctionReward:
    return FunctionReward(function=f"{HERE}:{f.__name__}", on=on, **fields)


def weights(run: Run) -> dict[str, torch.Tensor]:
    return checkpoint.load(run.folder.weights)


def same_weights(one: Training, other: Training) -> bool:
    theirs = other.model.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.model.state_dict().items())


def trained(objective: Objective, steps: int = 6, **fields: Any) -> Training:
    with torch.random.fork_rng():
        experiment = replace(TINY, objective=objective, **fields)
        training = Training(experiment, EncodedData.of(experiment.task.load(), experiment.model), device="cpu")
        training.rehearse(steps)
    return training


# ----------------------------------------------------------------------------------------------------- what they see


@pytest.mark.parametrize("on", ["ids", "symbols", "text"])
def test_reinforce_shows_outputs_with_their_own_reference_and_source(on: str, tmp_path: Path) -> None:
    experiment = replace(TINY, objective=REINFORCE(reward=function(watching, on=on)))
    train(experiment, root=tmp_path)
    right = {("".join(spelt(each.source)), "".join(reference)) for each in DATA.train for reference in each.references}
    assert len(SEEN) == 2 * len(DATA.train) * 4
    for _, reference, source in SEEN:
        text = "".join("ab"[label] for label in reference) if on == "ids" else "".join(reference)
        assert ("".join(source), text) in right
    kinds = {type(each) for output, reference, _ in SEEN for each in (output, reference)}
    assert kinds == {str if on == "text" else list}
    assert {"".join(source) for _, _, source in SEEN} == {"".join(spelt(each.source)) for each in DATA.train}


Made = Callable[[Reward], Objective]
OBJECTIVES: dict[str, Made] = {
    "reinforce": lambda reward: REINFORCE(reward=reward),
    "reinforce against a greedy output": lambda reward: REINFORCE(reward=reward, baseline=Greedy(), samples=2),
    "minimum risk": lambda reward: MinimumRisk(reward=reward, candidates=Samples(k=3, reference="added")),
    "candidate hinge": lambda reward: CandidateHinge(reward=reward),
    "mixer": lambda reward: Mixer(reward=reward, start=Point(step=0), end=Point(step=1)),
    "a payoff for any reward": lambda reward: RML(
        payoff=ReweightedPayoff(reward=reward), estimator=SelfNormalised(k=3)
    ),
    "a sum": lambda reward: WeightedSum(
        parts=(Weighted(objective=MaximumLikelihood()), Weighted(objective=MinimumRisk(reward=reward)))
    ),
    "one after another": lambda reward: Switch(
        first=REINFORCE(reward=reward), second=MaximumLikelihood(), at=Point(share=0.75)
    ),
}


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("on", ["symbols", "text"])
def test_every_objective_trains_as_by_the_same_reward_on_ids(name: str, on: str) -> None:
    make = OBJECTIVES[name]
    own = trained(make(EditDistance()))
    assert same_weights(own, trained(make(function(closeness, on=on))))
    assert same_weights(own, trained(make(function(watching, on=on, cache=50))))
    assert SEEN


def test_pieces_of_a_batch_know_their_examples() -> None:
    trainer = replace(TINY.trainer, accumulate=3)
    trained(MinimumRisk(reward=function(watching)), trainer=trainer)
    right = {("".join(spelt(each.source)), "".join(reference)) for each in DATA.train for reference in each.references}
    assert {("".join(source), reference) for _, reference, source in SEEN} <= right


@objectives.register("test-drawing-by-reward")
@dataclass(frozen=True, kw_only=True)
class DrawingByReward(Objective):
    """Likelihood of one's own draws, which a reward looks at ahead of the step."""

    reward: Reward

    requires = ()

    @property
    def drawn(self) -> int:
        return 2

    def draw(self, targets: Sequences, num_labels: int, generator: torch.Generator) -> Sequences:
        drawn = (
            HammingPayoff(temperature=Temperature(literal=1.0)).distribution(targets, num_labels).sample(2, generator)
        )
        scores_of(self.reward, drawn, targets)
        return drawn

    def losses(self, p: Any, targets: Sequences, context: StepContext) -> Losses:
        return Losses(-p.log_prob(context.draws).mean(1))


def test_rewards_are_bound_where_draws_are_made_ahead_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("structpred.training.batching.DRAW_BLOCK", 7)
    trained(DrawingByReward(reward=function(watching)), steps=1)
    assert [source for _, _, source in SEEN] == [list(spelt(each.source)) for each in DATA.train for _ in range(2)]
    for i, (_, reference, _) in enumerate(SEEN):
        assert tuple(reference) in DATA.train[i // 2].references


# ------------------------------------------------------------------------------------------- that nothing else changes


def test_an_objective_on_ids_is_left_as_it_is() -> None:
    for objective in (REINFORCE(), MaximumLikelihood(), OBJECTIVES["a sum"](SentenceGleu())):
        with torch.random.fork_rng():
            experiment = replace(TINY, objective=objective)
            training = Training(experiment, EncodedData.of(DATA, experiment.model), device="cpu")
        assert training.recipe is experiment
        plan = training._plan()
        assert plan[0].targets.examples is None


def test_only_a_reward_that_asks_has_references_say_whose_they_are() -> None:
    data = EncodedData.of(DATA, TINY.model).training
    for objective, asks in ((REINFORCE(reward=SentenceChrf()), False), (REINFORCE(reward=function(watching)), True)):
        assert asks_for_examples(objective) == asks
        plan = EpochPlan(data, data, objective, budget=40, seed=0, epoch=0)
        for position, rows in enumerate(plan.rows):
            found = plan[position].targets.examples
            assert (found is not None) == asks
            assert found is None or torch.equal(found, rows)


def test_a_bound_objective_is_the_same_experiment() -> None:
    experiment = replace(TINY, objective=OBJECTIVES["a sum"](function(watching)))
    with torch.random.fork_rng():
        training = Training(experiment, EncodedData.of(DATA, experiment.model), device="cpu", observer=ignore)
    bound = training.recipe
    assert isinstance(bound, Experiment)
    assert bound is not experiment
    assert bound == experiment
    assert encode(bound, versions=True) == encode(experiment, versions=True)


BOTH = WeightedRewards(
    parts=(
        WeightedReward(reward=SentenceChrf(), weight=2),
        WeightedReward(reward=SentenceTer(), weight=0.5),
        WeightedReward(reward=EditDistance(), weight=0.1),
    )
)


@pytest.mark.slow
def test_an_interrupted_run_ends_with_the_weights_of_an_undisturbed_one(tmp_path: Path) -> None:
    experiment = replace(TINY, objective=MinimumRisk(reward=function(watching, cache=20)))
    undisturbed = train(experiment, root=tmp_path / "undisturbed")
    left = 5

    def stopping() -> bool:
        nonlocal left
        left -= 1
        return left == 0

    with pytest.raises(Interrupted):
        train(experiment, root=tmp_path / "interrupted", stopping=stopping)
    resumed = train(experiment, root=tmp_path / "interrupted")
    for name, value in weights(undisturbed).items():
        assert torch.equal(value, weights(resumed)[name]), name


@pytest.mark.slow
def test_arms_are_compared_in_worker_processes(tmp_path: Path) -> None:
    arms = {
        "chrF": replace(TINY, objective=MinimumRisk(reward=SentenceChrf())),
        "both": replace(TINY, objective=REINFORCE(reward=BOTH)),
    }
    report = compare(arms, seeds=(1,), root=tmp_path, workers=2)
    for name, experiment in arms.items():
        alone = train(replace(experiment, seed=1), root=tmp_path / "alone", device="cpu")
        assert alone.result.scores == report.results[name][0].scores


# ------------------------------------------------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize(
    ("reward", "error", "words"),
    [
        (function(failing), CodeError, r"^failing, line \d+ of .*, failed with KeyError: 'no such key'$"),
        (function(without_end), ConfigError, r"^the reward function '.*:without_end' must return a number that is fin"),
        (function(three), ConfigError, r"^the reward function '.*:three' must take an output and a reference, and may"),
    ],
)
def test_what_goes_wrong_is_one_sentence(reward: Reward, error: type[Exception], words: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=words) as caught:
        train(replace(TINY, objective=REINFORCE(reward=reward)), root=tmp_path)
    assert "\n" not in str(caught.value)
