"""Every experiment in the repository can be built and trained; there is no list of exceptions."""

import importlib
import os
import pkgutil
from dataclasses import replace
from functools import cache
from types import ModuleType

import pytest
import torch

from structpred import experiments
from structpred.comparison.plan import Plan
from structpred.errors import Interrupted
from structpred.experiment import Experiment
from structpred.task import Splits, Task
from structpred.training.data import Prepared
from structpred.training.evaluation import predict
from structpred.training.progress import ignore
from structpred.training.trainer import GREEDY, Training

pytestmark = [
    # these data are for some uses only, of which tests are none that is ruled out
    pytest.mark.filterwarnings("ignore::structpred.downloads.RestrictedDataWarning"),
    # some published data share a few sentences between their parts, or have a rare label in one of them only
    pytest.mark.filterwarnings("ignore::structpred.tasks.held_out.SharedInputWarning"),
    pytest.mark.filterwarnings("ignore::structpred.tasks.held_out.NewLabelWarning"),
]

NAMES = [module.name for module in pkgutil.walk_packages(experiments.__path__, f"{experiments.__name__}.")]
QUESTIONS = [name for name in NAMES if ".benchmarks" not in name]


@cache
def tiny_slice(task: Task) -> Splits:
    splits = task.load()
    return replace(splits, train=splits.train[:48], dev=splits.dev[:4], test=splits.test[:4])


def arms_of(module: ModuleType) -> dict[str, Experiment]:
    made: dict[str, Experiment] = module.experiments()
    outside = any("$STRUCTPRED_DATA" in each.to_json() or hasattr(each.task, "origin") for each in made.values())
    if outside and "STRUCTPRED_DATA" not in os.environ:
        pytest.skip("its data are not embedded: set STRUCTPRED_DATA to the folder that holds them")
    return made


def test_the_folder_is_walked() -> None:
    assert "structpred.experiments.pronunciation" in QUESTIONS
    assert len(NAMES) > len(QUESTIONS) > 0


@pytest.mark.parametrize("name", NAMES)
def test_importing_does_no_work_but_says_what_is_asked(name: str) -> None:
    module = importlib.import_module(name)
    assert "?" in (module.__doc__ or "") or hasattr(module, "__path__") or not hasattr(module, "main")


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_arm_trains_two_steps_and_predicts(name: str) -> None:
    arms = arms_of(importlib.import_module(name))
    for arm, experiment in arms.items():
        prepared = Prepared.of(tiny_slice(experiment.task), experiment.model)
        with torch.random.fork_rng():
            training = Training(experiment, prepared, device="cpu", observer=ignore)
            before = {key: value.clone() for key, value in training.model.state_dict().items()}
            with pytest.raises(Interrupted):
                training.run(save=lambda state: None, save_every=1e9, stopping=lambda: training.steps == 2)  # noqa: B023
        assert training.steps == 2, arm
        assert any(not torch.equal(value, before[key]) for key, value in training.model.state_dict().items()), arm
        sources = [example.source for example in prepared.splits.dev]
        assert len(predict(training.model, prepared.codec, sources, GREEDY)) == len(sources), arm


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_arms_can_be_compared_and_written_down(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    arms = arms_of(importlib.import_module(name))
    for experiment in arms.values():
        assert Experiment.from_json(experiment.to_json()) == experiment
    plan = Plan.of(arms, (0, 1), None, tmp_path_factory.mktemp("runs"))
    assert len({run.folder.path for run in plan.runs}) == 2 * len(arms)
