"""What SECURITY.md says of reading what somebody else made."""

import ast
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from structpred.errors import RunError
from structpred.experiment import Experiment
from structpred.models import LSTMTagger
from structpred.objectives import MinimumRisk
from structpred.rewards import FunctionReward
from structpred.tasks import LetterTagging
from structpred.training import checkpoint

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [path for folder in ("structpred", "objectives", "tasks") for path in sorted((ROOT / folder).rglob("*.py"))]
UNPICKLING = ("pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.load", "marshal.loads", "shelve.open")
ALLOWED = {
    ("executors.py", "pickle.loads"),  # what our own worker processes send through pipes that they inherit
    ("clusters.py", "pickle.loads"),  # what a job of SLURM returns, which submitit has unpickled as well
    ("function.py", "compile"),  # to compare a file with what was imported from it; it is not run
}
RUNNING = ("eval", "exec", "compile", "os.system", "yaml.load", "runpy.run_path", "runpy.run_module")


class Touching:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_code_in_a_file_of_weights_is_not_run(tmp_path: Path) -> None:
    place, touched = tmp_path / "weights.pt", tmp_path / "touched"
    torch.save({"weight": torch.zeros(1), "code": Touching(touched)}, place)
    with pytest.raises(RunError, match=r"weights\.pt"):
        checkpoint.load(place)
    assert not touched.exists()
    torch.load(place, weights_only=False)
    assert touched.exists(), "this file would have run code"


def called(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    """Dotted names of what is called, and the calls."""
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_nothing_is_unpickled_or_run_as_text() -> None:
    calls = {(path.name, name) for path in SOURCES for name, _ in called(ast.parse(path.read_text(encoding="utf-8")))}
    assert len(calls) > 1000, "this test finds no calls any more"
    assert {each for each in calls if each[1] in UNPICKLING + RUNNING} == ALLOWED


def test_tensors_and_arrays_are_loaded_without_objects() -> None:
    loads = []
    for path in SOURCES:
        for name, call in called(ast.parse(path.read_text(encoding="utf-8"))):
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            if name == "torch.load":
                loads.append(path.name)
                assert given.get("weights_only") == "True", path
            if name in ("np.load", "numpy.load"):
                assert given.get("allow_pickle") == "False", path
    assert loads, "this test finds no loading any more"


def test_reading_an_experiment_imports_no_function_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "named_in_a_run.py").write_text("def reward(output, reference):\n    return 0.0\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    reward = FunctionReward(function="named_in_a_run:reward")
    experiment = Experiment(task=LetterTagging(), model=LSTMTagger(), objective=MinimumRisk(reward=reward))
    assert Experiment.from_json(experiment.to_json()) == experiment
    assert "named_in_a_run" not in sys.modules
