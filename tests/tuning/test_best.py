"""The best experiments as files: one for each study, nothing of an earlier report, and nothing of a user's lost."""

import json
import runpy
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from structpred import Experiment
from structpred.errors import ConfigError
from structpred.objectives import MaximumLikelihood
from structpred.registry import objectives
from structpred.report import best
from structpred.training import Adam
from structpred.tuning import Over, Range, Tuning
from tests.support.studies import fake_runs, quick
from tests.support.tuning import TINY, rate


def rates(*names: str) -> dict[str, Over]:
    """Spaces that differ in their only value, so that each study's best experiment tells whose it is."""
    return {name: Over(TINY, (Range(field="optimiser.lr", choices=(0.01 * (i + 1),)),)) for i, name in enumerate(names)}


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_runs(monkeypatch, lambda experiment: experiment.optimiser.rate)


def tuned(tmp_path: Path, spaces: Mapping[str, Over], **options: Any) -> Tuning:
    return quick(spaces, tmp_path, trials=1, **options)


def best_files(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("best_*")}


@pytest.mark.usefixtures("_at_once")
def test_names_that_look_alike_keep_all_their_best_experiments(tmp_path: Path) -> None:
    names = ("日本", "한국", "a-b", "A b", "?", "A_B")
    written = tuned(tmp_path, rates(*names)).write(tmp_path / "report")
    modules = [path for path in written if path.suffix == ".py"]
    assert len({path.name.casefold() for path in written}) == len(written) == 3 + 2 * len(names)
    assert {path.name for path in modules} >= {"best_日本.py", "best_한국.py"}
    for i, (name, module) in enumerate(zip(names, modules, strict=True)):
        assert f"tuning/{name} found best" in module.read_text(encoding="utf-8")
        made = runpy.run_path(str(module))["experiments"]()["tuned"]
        config = Experiment.from_json(module.with_suffix(".json").read_text(encoding="utf-8"))
        assert made.optimiser == config.optimiser == Adam(lr=0.01 * (i + 1))


@pytest.mark.usefixtures("_at_once")
def test_what_an_earlier_report_wrote_goes_and_what_a_user_wrote_stays(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    tuned(tmp_path, rates("old", "edited", "half")).write(folder)
    own = folder / "best_recipe.py"
    own.write_text("CAKE = 1\n", encoding="utf-8")
    (folder / "best_recipe.json").write_text("{}\n", encoding="utf-8")
    edited = folder / "best_edited.py"
    edited.write_text(f"# mine\n{edited.read_text(encoding='utf-8')}", encoding="utf-8")
    (folder / "best_half.json").write_text("{}\n", encoding="utf-8")
    with pytest.warns(UserWarning, match=r"best_edited.py is of an earlier report and was changed since, so it stays"):
        tuned(tmp_path, rates("new"), name="second").write(folder)
    assert best_files(folder) == {
        "best_new.py", "best_new.json", "best_recipe.py", "best_recipe.json", "best_edited.py", "best_edited.json",
        "best_half.json",
    }  # fmt: skip


@pytest.mark.usefixtures("_at_once")
@pytest.mark.parametrize("suffix", [".py", ".json"])
def test_a_changed_file_is_not_written_over(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "report"
    tuning = tuned(tmp_path, rates("one"))
    tuning.write(folder)
    tuning.write(folder)
    file = folder / f"best_one{suffix}"
    changed = f"{file.read_text(encoding='utf-8')} \n"
    file.write_text(changed, encoding="utf-8")
    report = (folder / "report.md").stat().st_mtime_ns
    with pytest.raises(ConfigError, match=f"best_one{suffix} was not written by structpred tune, or was changed since"):
        tuning.write(folder)
    assert file.read_text(encoding="utf-8") == changed
    assert (folder / "report.md").stat().st_mtime_ns == report


@pytest.mark.usefixtures("_at_once")
def test_a_writer_that_was_killed_in_between_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    tuned(tmp_path, rates("one")).write(folder)
    (folder / "best_one.json").unlink()
    tuned(tmp_path, rates("one"), name="other").write(folder)
    assert best_files(folder) == {"best_one.py", "best_one.json"}


@pytest.mark.parametrize(
    "name", ['a"""\nimport os; os.abort()\n"""', "a\x00", "\x1b[31m", "\udcff", "", "a, more seeds"]
)
def test_names_that_could_do_harm_are_refused_before_anything_is_run(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="name of a study"):
        quick(rate, tmp_path, name=name)
    with pytest.raises(ConfigError, match="name of a study"):
        quick({name: rate}, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name",
    ['a"""\nraise KeyError\n"""', 'a"', "a\\", '"', r'\"""', "a\rraise", "\0\udcff", "{x} %s $x", "\\N{bad}\\x1"],
)
def test_no_name_runs_as_code(name: str) -> None:
    text = best.module(TINY, name=name, stem="best_x", budget="None was spent.", seeds=(100,))
    made: dict[str, Any] = {"__name__": "best_x"}
    exec(compile(text.encode(), "best_x", "exec"), made)
    assert made["experiments"]()["tuned"] == TINY
    assert made["__doc__"].startswith("Does what the study")
    assert "found best beat likelihood?" in made["__doc__"].splitlines()[0]


def test_classes_of_one_name_and_modules_that_cannot_be_written_are_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my-objectives.py").write_text(
        "from dataclasses import dataclass\n"
        "from structpred.objectives import MaximumLikelihood as Theirs\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class MaximumLikelihood(Theirs):\n    share: float = 0.5\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class report(Theirs):\n    share: float = 0.5\n",
        encoding="utf-8",
    )
    mine = __import__("my-objectives")
    monkeypatch.setattr(objectives, "name_of", lambda cls: "mine")
    for cls in (mine.MaximumLikelihood, mine.report):
        experiment = replace(TINY, objective=cls(share=0.25))
        text = best.module(experiment, name="s", stem="best_x", budget="", seeds=(100,))
        made: dict[str, Any] = {"__name__": "best_x"}
        exec(compile(text, "best_x", "exec"), made)
        arms = made["experiments"]()
        assert arms["tuned"].objective == cls(share=0.25)
        assert type(arms["ML"].objective) is MaximumLikelihood


def test_a_script_is_imported_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Own(MaximumLikelihood):
        __module__, __qualname__ = "__main__", "Own"

    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(tmp_path / "script.py"), raising=False)
    text = best.module(replace(TINY, objective=Own()), name="s", stem="best_x", budget="", seeds=(0,))
    assert "from script import Own\n" in text


def test_the_json_beside_is_what_was_best(tmp_path: Path) -> None:
    tuning = quick(rate, tmp_path, trials=1)
    tuning.write(tmp_path / "report")
    assert json.loads((tmp_path / "report" / "best_tuning.json").read_text()) == json.loads(tuning.best.to_json())
