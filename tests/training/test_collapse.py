"""Training that has collapsed is said to have, once and in words; training that has not is left alone."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from structpred.experiment import Experiment
from structpred.models import Seq2Seq
from structpred.objective import Objective
from structpred.objectives import REINFORCE, MaximumLikelihood, NoBaseline
from structpred.registry import tasks
from structpred.results import Epoch
from structpred.rewards import FunctionReward
from structpred.runs import train
from structpred.task import Example, Splits
from structpred.training import Adam, Trainer
from structpred.training.monitoring import CollapseWarning, collapsed, shape_of, warn_of_collapse
from tests.support.tiny import Copying

HEALTHY = {"outputs": 1000.0, "distinct": 900.0, "distinct_references": 930.0, "length_ratio": 1.0}
CERTAIN = {"zero_variance": 0.9, "reward": -0.1}
SAMPLED = {"zero_variance": 0.2, "reward": -3.0}


def history(shapes: list[dict[str, float]], told: list[dict[str, float]] | None = None) -> list[Epoch]:
    diagnostics = [{} for _ in shapes] if told is None else told
    pairs = zip(shapes, diagnostics, strict=True)
    return [Epoch(i + 1, 1.0, {}, 0.0, each, HEALTHY | shape) for i, (shape, each) in enumerate(pairs)]


def test_shapes_are_counted_beside_first_references() -> None:
    examples = [Example(("x",), ((*"ab",), (*"abc",)), "1"), Example(("y",), ((*"b",),), "2"), Example((), ((),), "3")]
    shape = shape_of([(*"a",), (*"a",), (*"bb",)], examples)
    assert shape == {"outputs": 3.0, "distinct": 2.0, "distinct_references": 3.0, "length_ratio": 7 / 6}
    assert shape_of([], [])["outputs"] == 0.0


def test_outputs_that_became_one_are_said_to_have_in_numbers() -> None:
    told = history([{"distinct": 700.0}, {"distinct": 12.0}])
    with pytest.warns(
        CollapseWarning,
        match="^12 of 1000 dev outputs are distinct, but 930 references are: training has collapsed; lower the "
        "learning rate, warm up with maximum likelihood, or mix it in$",
    ):
        warn_of_collapse(told, epochs=10)


def test_it_is_said_once_also_by_a_run_that_was_resumed() -> None:
    shapes = [{}, {"distinct": 12.0}, {"distinct": 10.0}, {"length_ratio": 9.0}]
    for epochs in (1, 3, 4):
        warn_of_collapse(history(shapes[:epochs]), epochs=4)  # a warning would be an error here
    with pytest.warns(CollapseWarning):
        warn_of_collapse(history(shapes[:2]), epochs=4)


@pytest.mark.parametrize(("ratio", "shown"), [(0.1, "0.1 times"), (6.3, "6.3 times")])
def test_lost_length_is_said(ratio: float, shown: str) -> None:
    message = collapsed(history([{"length_ratio": 0.9}, {"length_ratio": ratio}]), epochs=10)
    assert message == f"dev outputs are {shown} as long as their references"


def test_certainty_that_earns_less_than_doubt_did_is_said_also_of_a_part_of_a_sum() -> None:
    told = [{"rl/zero_variance": 0.3, "rl/reward": -4.0}, {"rl/zero_variance": 0.97, "rl/reward": -6.5}]
    message = collapsed(history([{}, {}], told), epochs=10)
    assert message == (
        "in 97% of groups all samples have the same reward, at a mean reward of -6.5, compared with -4 at first"
    )


@pytest.mark.parametrize(
    ("shapes", "told"),
    [
        pytest.param([{"distinct": 3.0}] * 9, None, id="likelihood that has not learnt yet"),
        pytest.param([{"distinct": 3.0}, {"distinct": 300.0}, {"distinct": 880.0}], None, id="learning"),
        pytest.param([{"distinct": 3.0, "length_ratio": 5.0}] * 4, [SAMPLED] * 4, id="samples, early"),
        pytest.param([{"length_ratio": 0.1}, {"length_ratio": 0.9}], None, id="growing to length"),
        pytest.param([{"length_ratio": 5.0}] * 9, [SAMPLED] * 9, id="has not found the end"),
        pytest.param([{}] * 9, [SAMPLED, *[{"zero_variance": 1.0, "reward": -0.1}] * 8], id="certain and right"),
        pytest.param([{}] * 2, [CERTAIN, {"zero_variance": 1.0, "reward": -0.2}], id="certain from the start"),
        pytest.param([{}, {"distinct": 1.0, "distinct_references": 19.0}], None, id="few references"),
        pytest.param([{}, {"distinct": 300.0}], None, id="a setback"),
        pytest.param([{}] * 9, [{"reward": -1.0}] * 9, id="nothing to tie"),
    ],
)  # fmt: skip
def test_ordinary_training_is_left_alone(shapes: list[dict[str, float]], told: list[dict[str, float]] | None) -> None:
    full = history(shapes, told)
    assert [collapsed(full[: i + 1], epochs=10) for i in range(len(full))] == [None] * len(full)


def test_learning_from_samples_that_never_got_anywhere_is_said_from_the_middle_on() -> None:
    full = history([{"distinct": 3.0}] * 6, [SAMPLED] * 6)
    said = [collapsed(full[: i + 1], epochs=10) is not None for i in range(6)]
    assert said == [False, False, False, False, True, True]


def test_histories_from_before_shapes_were_kept_say_nothing() -> None:
    assert collapsed([Epoch(1, 1.0, {}, 0.0, {})] * 4, epochs=4) is None


# ---------------------------------------------------------------------------------------------------- a run of it


@tasks.register("copying-more")
@dataclass(frozen=True, kw_only=True)
class CopyingMore(Copying):
    """With enough on the dev side to conclude something."""

    def load(self) -> Splits:
        few = super().load()
        every = tuple({example.source: example for example in (*few.train, *few.dev, *few.test)}.values())
        return Splits(every, every, every[:7], f"{few.digest}, more")


def shortness(output: list[int], reference: list[int]) -> float:
    """Nothing but short outputs pays."""
    del reference
    return -len(output)


BASE = Experiment(
    task=CopyingMore(),
    model=Seq2Seq(embedding=8, hidden=16, dropout=0.0),
    objective=MaximumLikelihood(),
    optimiser=Adam(lr=0.01),
    trainer=Trainer(epochs=4, batch_tokens=64),
)


def warnings_of(objective: Objective, folder: Path) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = train(replace(BASE, objective=objective), root=folder)
    assert all(epoch.shape["distinct_references"] >= 20 for epoch in run.result.history)
    return [str(each.message) for each in caught if issubclass(each.category, CollapseWarning)]


@pytest.mark.slow
def test_a_run_that_collapses_says_so_and_one_that_learns_does_not(tmp_path: Path) -> None:
    collapses = REINFORCE(reward=FunctionReward(function=f"{__name__}:shortness"), baseline=NoBaseline())
    (message,) = warnings_of(collapses, tmp_path)
    assert "dev outputs are distinct, but 30 references are: training has collapsed" in message
    assert warnings_of(MaximumLikelihood(), tmp_path) == []
    assert warnings_of(REINFORCE(ml_weight=5.0), tmp_path) == []
