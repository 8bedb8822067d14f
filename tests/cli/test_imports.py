"""Components of a user's own from the command line: how they are named, found again, and blamed."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from structpred.cli import main
from structpred.registry import FAMILIES
from tests.support.commands import FILES, SMALL

pytestmark = pytest.mark.usefixtures("own_folder")

MINE = """
from dataclasses import dataclass
from structpred.objectives import MaximumLikelihood
from structpred.registry import objectives

@objectives.register("test-own")
@dataclass(frozen=True, kw_only=True)
class Own(MaximumLikelihood):
    '''Somebody's own.'''
"""
FAILING = f"""{MINE}
    def losses(self, p, targets, given):
        raise LookupError("nobody knows why")
"""
ENDING = f"""{MINE}
    def losses(self, p, targets, given):
        raise SystemExit(0)
"""
TASK = """
from dataclasses import dataclass
from structpred.registry import tasks
from structpred.tasks import Tsv

@tasks.register("test-own-task")
@dataclass(frozen=True, kw_only=True)
class OwnTask(Tsv):
    def load(self):
        return {}["a key"]
"""


@pytest.fixture
def forget(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Makes this process like a new one, in which nothing of a user's is imported; called at the end too."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = {family.family: dict(family._classes) for family in FAMILIES if list(family)}

    def undo() -> None:
        for family in FAMILIES:
            family._classes = dict(before[family.family])
        for name, module in list(sys.modules.items()):
            if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
                del sys.modules[name]

    yield undo
    undo()


def line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.filterwarnings("default::structpred.runs.OtherCodeWarning")
def test_a_run_with_a_component_of_ones_own_is_trained_and_found_again(
    forget: Callable[[], None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    mine = tmp_path / "test_own_objective.py"
    mine.write_text(MINE, encoding="utf-8")
    assert main(["train", *FILES, *SMALL, "objective=test-own"]) == 2
    assert "there is no objective named 'test-own'" in line(capsys)
    assert main(["train", *FILES, *SMALL, "objective=test-own", "--import", mine.name]) == 0
    (run,) = (tmp_path / "runs").iterdir()
    (tmp_path / "in.txt").write_text("ab\n", encoding="utf-8")
    forget()
    for words in (["predict", str(run), "in.txt"], ["evaluate", str(run)]):
        capsys.readouterr()
        assert main(words) == 2
        said = line(capsys)
        assert f"this run was made with test_own_objective: add --import {mine.resolve()}, which runs that code" in said
        assert "test_own_objective" not in sys.modules, "nothing is executed unasked"
        assert main([*words, "--import", str(mine)]) == 0
        assert capsys.readouterr().err == ""
        forget()
    mine.write_text(f"{MINE}EDITED = True\n", encoding="utf-8")
    assert main(["evaluate", str(run), "--import", str(mine)]) == 0
    assert "has changed since this run was trained, so its predictions may no longer match" in line(capsys)
    forget()
    mine.write_text(MINE, encoding="utf-8")
    mine.rename(tmp_path / "test_moved_objective.py")
    assert main(["evaluate", str(run)]) == 2
    assert f"{mine.resolve()} is no longer there: add --import FILE" in line(capsys)
    assert main(["evaluate", str(run), "--import", "test_moved_objective"]) == 0, "by name, from the present folder"


@pytest.mark.usefixtures("forget")
def test_what_was_imported_is_listed_and_described(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    package = tmp_path / "test_own_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "names.py").write_text("NAME = 'test-own'\n", encoding="utf-8")
    source = MINE.replace('"test-own"', "NAME").replace("\nfrom struct", "\nfrom .names import NAME\nfrom struct", 1)
    (package / "objective.py").write_text(source, encoding="utf-8")
    assert main(["list", "objective", "--import", "test_own_package/objective.py"]) == 0
    assert "objective\ttest-own\tSomebody's own.\n" in capsys.readouterr().out
    assert main(["describe", "Test-Own", "--import", "test_own_package.objective"]) == 0
    assert capsys.readouterr().out.startswith("test-own (objective, test_own_package.objective:Own)")


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("nowhere.py", None, "nowhere.py: there is no such file"),
        ("nowhere", None, "nowhere cannot be imported (No module named 'nowhere')"),
        ("./nowhere", None, "expected a module's dotted name or a .py file, but got './nowhere'"),
        ("test_syntax.py", "def f(:\n", "because of a syntax error in line 1 of"),
        (
            "test_ends.py",
            "\nraise SystemExit('no more')\n",
            "test_ends cannot be imported, because of SystemExit in li",
        ),
        ("test.dots.py", "", "because of the dot in its name; call it test_dots.py"),
        ("json.py", "", "json.py has the name of another module"),
    ],
)
@pytest.mark.usefixtures("forget")
def test_what_cannot_be_imported_is_said_in_one_line(
    name: str, source: str | None, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if source is not None:
        (tmp_path / name).write_text(source, encoding="utf-8")
    assert main(["list", "--import", name]) == 2
    (only,) = capsys.readouterr().err.splitlines()
    assert said in only


@pytest.mark.parametrize(("source", "kind"), [(FAILING, "LookupError"), (ENDING, "SystemExit")])
@pytest.mark.parametrize("command", ["train", "compare"])
@pytest.mark.usefixtures("forget")
def test_an_error_in_an_objective_is_one_line_with_its_place(
    command: str, source: str, kind: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "test_bad_objective.py").write_text(source, encoding="utf-8")
    words = {"train": ["objective=test-own"], "compare": ["--objectives", "test-own", "--seeds", "1"]}[command]
    assert main([command, *FILES, *SMALL, "--import", "test_bad_objective.py", *words]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert f"{kind}" in said.splitlines()[-1]
    assert "line 12 of" in said.splitlines()[-1]
    assert "test_bad_objective.py" in said.splitlines()[-1]


@pytest.mark.usefixtures("forget")
def test_the_traceback_is_shown_where_it_is_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = tmp_path / "test_bad_task.py"
    place.write_text(TASK, encoding="utf-8")
    words = ["train", "task=test-own-task", "task.train=train.tsv", "--import", place.name]
    assert main(words) == 2
    (only,) = capsys.readouterr().err.splitlines()
    assert only == (
        f"structpred: OwnTask.load, line 10 of {place}, failed with KeyError: 'a key'; "
        "set STRUCTPRED_TRACEBACK=1 to see the whole traceback"
    )
    monkeypatch.setenv("STRUCTPRED_TRACEBACK", "1")
    assert main(words) == 2
    *shown, last = capsys.readouterr().err.splitlines()
    assert shown[0] == "Traceback (most recent call last):"
    assert last == only


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("structpred.cli.runs.train", lambda *given, **more: int("x"))
    monkeypatch.setattr("structpred.blame._users", lambda filename: False)  # this file would count as a user's
    with pytest.raises(ValueError, match="invalid literal"):
        main(["train", *FILES])


PROMPT = """
from dataclasses import dataclass, replace
from rich.console import Console
from structpred import compare, tune
from structpred.cli.assignments import experiment
from structpred.errors import ConfigError
from structpred.objectives import MaximumLikelihood
from structpred.registry import objectives
from structpred.tuning.spaces import learning_rate

@objectives.register("test-prompt")
@dataclass(frozen=True, kw_only=True)
class Prompt(MaximumLikelihood):
    '''Typed in.'''

base = replace(experiment({words!r}), objective=Prompt())
for start in (lambda: compare({{"a": base, "b": replace(base, objective=MaximumLikelihood())}}, seeds=(0,), workers=2),
              lambda: tune(learning_rate(base), trials=1, workers=2)):
    try:
        start()
    except ConfigError as error:
        print(error)
print(sorted(compare({{"a": base}}, seeds=(0,), workers=1).results))
"""


@pytest.mark.slow
def test_what_was_typed_at_a_prompt_is_trained_by_one_worker_and_refused_for_two(tmp_path: Path) -> None:
    script = PROMPT.format(words=[*FILES, *SMALL])
    done = subprocess.run(
        [sys.executable, "-"], input=script, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=300
    )
    assert done.stdout.splitlines() == [
        "2 worker processes cannot import Prompt, because it is defined in a notebook or at a prompt; put it into a "
        ".py file and import it from there, or use one worker, which runs in this process",
        "2 worker processes cannot import Prompt, because it is defined in a notebook or at a prompt; put it into a "
        ".py file and import it from there, or use one worker, which runs in this process",
        "['a']",
    ], done.stderr
