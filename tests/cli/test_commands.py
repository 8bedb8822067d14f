"""Every command, in this process: what it prints, what it leaves behind, and one line for each mistake."""

import contextlib
import io
import itertools
import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from structpred.cli import main
from structpred.cli.arguments import COMMANDS, command
from structpred.comparison import runner
from structpred.comparison.workers import workers
from structpred.runs import Run

SMALL = ("model.hidden=8", "model.embedding=4", "trainer.epochs=1", "trainer.batch_tokens=400")
FILES = ("task=tsv", "task.train=train.tsv", "task.dev=dev.tsv", "task.test=test.tsv")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands run in a folder of their own, and the number of threads they set is put back."""
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def write_data(folder: Path) -> None:
    words = ["".join(word) for n in range(1, 5) for word in itertools.product("abc", repeat=n)]
    for name, part in {"train": words[30:], "dev": words[:15], "test": words[15:30]}.items():
        text = "".join(f"{word}\t{' '.join(word.upper())}\n" for word in part)
        (folder / f"{name}.tsv").write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("trained")
    write_data(folder)
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert main(["train", *absolute(folder), *SMALL]) == 0
    (run,) = (folder / "runs").iterdir()
    return run


def absolute(folder: Path) -> list[str]:
    return ["task=tsv", *(f"task.{split}={folder / split}.tsv" for split in ("train", "dev", "test"))]


def tree(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


# ------------------------------------------------------------------------------------------------------- help


def test_help_lists_every_command_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in COMMANDS:
        assert re.search(rf"^  {name} +[A-Z].*\.$", text, re.MULTILINE), name
        assert f"  structpred {name}" in text


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_of_a_command_shows_its_examples_one_a_line(
    name: str, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, flag]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: structpred {name} ")
    examples = text.partition("\nExamples:\n")[2].splitlines()
    assert examples
    assert all(re.match(rf"  (echo \w+ \| )?structpred {name}\b", line) for line in examples)
    assert "{None}" not in text


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_in_the_help_are_understood(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    monkeypatch.setattr(command(name), "run", lambda self, console: ran.append(self))
    examples = [line for line in (command(name).__doc__ or "").splitlines() if line.startswith("      structpred")]
    for line in examples:
        assert main(line.split()[1:]) == 0, line
    assert len(ran) == len(examples) > 0


# --------------------------------------------------------------------------------------------- train and compare


def test_train_prints_scores_and_the_folder_and_trains_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["train", *FILES, "--root", "there", *SMALL, "seed=1"]) == 0
    first = capsys.readouterr()
    (folder,) = (tmp_path / "there").iterdir()
    header, dev, test, place = first.out.splitlines()
    assert header == "split\tPER\tWER"
    assert dev.startswith("dev\t")
    assert test.startswith("test\t")
    assert place == f"Run: there/{folder.name}"
    assert "\x1b" not in first.out + first.err
    assert Run.load(folder).experiment.seed == 1
    assert main(["train", *FILES, "--root", "there", *SMALL, "seed=1"]) == 0
    again = capsys.readouterr()
    assert again.out == first.out
    assert "epoch" in first.err
    assert "epoch" not in again.err


def test_a_dry_run_shows_runs_and_time_and_leaves_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    before = tree(tmp_path)
    assert main(["compare", "--dry-run", *FILES, *SMALL, "--seeds", "2", "--objectives", "rml", "label-smoothing"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("\t") == ["arm", "finished", "to be resumed", "to be run", "one run takes"]
    assert re.fullmatch(r"rml\t0\t0\t2\tabout \d+ s", lines[1])
    assert re.fullmatch(r"4 of 4 runs to do, about \d+ s on \d process(es)?", lines[3])
    assert tree(tmp_path) == before


def test_assignments_may_stand_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr(command("compare"), "run", lambda self, console: seen.append(self))
    words = [
        "a=1",
        "arms.py",
        "--seeds",
        "2",
        "b=2",
        "--dry-run",
        "c=3",
        "--report",
        "out=1",
        "--objectives",
        "x",
        "d=4",
    ]
    assert main(["compare", *words]) == 0
    (given,) = seen
    assert isinstance(given, command("compare"))
    found = {name: str(value) for name, value in vars(given).items()}
    assert found["words"] == "('arms.py', 'a=1', 'b=2', 'c=3', 'd=4')"
    assert (found["report"], found["objectives"], found["seeds"]) == ("out=1", "('x',)", "2")


ARMS = """
from dataclasses import dataclass, replace
from structpred.cli.assignments import experiment
from structpred.objectives import MaximumLikelihood
from structpred.registry import objectives

@objectives.register("test-mine")
@dataclass(frozen=True, kw_only=True)
class Mine(MaximumLikelihood):
    '''Mine.'''

def experiments():
    base = experiment("task=tsv task.train=train.tsv task.dev=dev.tsv task.test=test.tsv".split())
    return {"ML": base, "mine": replace(base, objective=Mine())}
"""


@pytest.fixture
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Comparisons train in a thread of this process, which imports nothing again."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as executor:
        monkeypatch.setattr(runner, "open_workers", lambda given, count, root: workers(executor, count, root))
        yield


@pytest.mark.usefixtures("_one_thread")
def test_compare_trains_a_users_own_arms_and_writes_the_report(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "test_own_arms.py").write_text(ARMS, encoding="utf-8")
    command = ["compare", "test_own_arms.py", "--seeds", "2", *SMALL, "--report", "deep/report"]
    assert main(command) == 0
    first = capsys.readouterr()
    assert len(list((tmp_path / "runs").iterdir())) == 4
    assert "# Comparison of ML and mine" in first.out
    assert "| objective | maximum-likelihood | test-mine |" in re.sub(" +", " ", first.out)
    assert len(re.findall(r"^(ML|mine), seed [01]: dev PER .* \([1-4] of 4", first.err, re.MULTILINE)) == 4
    written = tmp_path / "deep" / "report"
    assert {path.name for path in written.iterdir()} == {"report.md", "report.html", "results.json"}
    assert json.loads((written / "results.json").read_text(encoding="utf-8"))["seeds"] == [0, 1]
    assert main(command) == 0
    again = capsys.readouterr()
    assert again.err == "", "nothing was trained again"
    assert main([*command, "--dry-run"]) == 0
    assert "All 4 runs are finished" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------ evaluate and predict


def test_evaluate_scores_other_data_with_another_search(
    trained: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["evaluate", str(trained)]) == 0
    lines = capsys.readouterr().out.splitlines()
    scores = Run.load(trained).result.scores["test"]
    assert lines[:2] == ["split\tPER\tWER", f"test\t{scores['PER']:.2f}\t{scores['WER']:.2f}"]
    assert lines[2].startswith("PER|edits:levenshtein")
    (tmp_path / "other.tsv").write_text("c\tC\n", encoding="utf-8")
    assert main(["evaluate", str(trained), "--split", "dev", "--beam", "2", "task.dev=other.tsv"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("dev\t")


def test_evaluate_warns_once_of_symbols_that_training_never_saw(
    trained: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "strange.tsv").write_text("c\tC\nxc\tC\nxd\tC\n", encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["evaluate", str(trained), "task.test=strange.tsv"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("structpred: warning: strange.tsv line 2: the symbol 'x' never occurs")


def test_predict_from_a_file_and_from_the_standard_input(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "in.txt").write_text("ab\ncab\n", encoding="utf-8")
    assert main(["predict", str(trained), "in.txt"]) == 0
    from_file = capsys.readouterr().out
    assert from_file.splitlines() == Run.load(trained).predict(["ab", "cab"])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"ab\r\ncab")))
    assert main(["predict", str(trained)]) == 0
    assert capsys.readouterr().out == from_file
    assert main(["predict", str(trained), "in.txt", "--output", "out.txt"]) == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "out.txt").read_text(encoding="utf-8") == from_file


def test_predict_the_best_outputs_with_log_probabilities(
    trained: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "in.txt").write_text("ab\nc\n", encoding="utf-8")
    assert main(["predict", str(trained), "in.txt", "--n-best", "3"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == ["ab"] * 3 + ["c"] * 3
    log_probs = [float(row[2]) for row in rows]
    assert log_probs[:3] == sorted(log_probs[:3], reverse=True)
    assert len({row[1] for row in rows[:3]}) == 3


def test_predict_reads_unknown_symbols_where_it_is_allowed(
    trained: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "in.txt").write_text("axb\n", encoding="utf-8")
    assert main(["predict", str(trained), "in.txt", "--keep-unknown"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


# ------------------------------------------------------------------------------------- list, describe and clean


def test_list_names_everything_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["family", "name", "what it is"]
    assert {("objective", "rml"), ("task", "tsv"), ("payoff", "hamming")} <= {(row[0], row[1]) for row in rows}
    assert all(len(row) == 3 and row[2] for row in rows)
    assert main(["list", "objective"]) == 0
    assert {line.split("\t")[0] for line in capsys.readouterr().out.splitlines()[1:]} == {"objective"}


def test_describe_everything_that_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    for name in {line.split("\t")[1] for line in capsys.readouterr().out.splitlines()[1:]}:
        assert main(["describe", name]) == 0
        assert capsys.readouterr().out.startswith(f"{name} (")
    assert main(["describe", "label-smoothing"]) == 0
    assert "epsilon\tnumber below 1 and at least 0\t0.1\n" in capsys.readouterr().out
    assert main(["describe", "tsv"]) == 0
    shown = capsys.readouterr().out
    assert "train\ttext\trequired\n" in shown
    assert "dev\ttext or null\tnull\n" in shown
    assert main(["describe", "snips"]) == 0
    shown = capsys.readouterr().out
    assert "Licence: CC0 1.0\n" in shown
    assert "Cite: Coucke et al.: Snips Voice Platform" in shown


def two_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, Path]:
    """A finished run and one that was never finished."""
    for seed in ("0", "1"):
        assert main(["train", *FILES, *SMALL, f"seed={seed}"]) == 0
    capsys.readouterr()
    finished, unfinished = sorted((folder / "runs").iterdir(), key=lambda path: Run.load(path).experiment.seed)
    (unfinished / "result.json").unlink()
    return finished, unfinished


def test_clean_shows_asks_and_removes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    finished, unfinished = two_runs(tmp_path, capsys)
    assert main(["clean", "--older-than", "1"]) == 0
    assert capsys.readouterr().out == "Nothing to remove\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert main(["clean"]) == 0
    shown = capsys.readouterr().out
    assert re.search(rf"{finished.name}\ttsv\tmaximum-likelihood\t0\tfinished\t\d\.\d MB\t", shown)
    assert "Remove 2 runs" in shown
    assert finished.exists()
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert main(["clean", "--unfinished"]) == 0
    assert "Removed 1 run," in capsys.readouterr().out
    assert (finished.exists(), unfinished.exists()) == (True, False)
    assert main(["clean", "--yes"]) == 0
    assert not finished.exists()


def test_clean_keeps_what_is_being_trained_and_shows_what_is_damaged(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    finished, unfinished = two_runs(tmp_path, capsys)
    (finished / "experiment.json").write_text("{", encoding="utf-8")
    with FileLock(unfinished / ".lock"):
        assert main(["clean", "--yes"]) == 0
    shown = capsys.readouterr().out
    assert f"{finished.name}\t?\t?\t?\tfinished" in shown
    assert f"Kept {unfinished.name}" in shown
    assert (finished.exists(), unfinished.exists()) == (False, True)


def test_clean_removes_nothing_when_nobody_answers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    two_runs(tmp_path, capsys)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert main(["clean"]) == 2
    assert "nobody answered, so nothing was removed; add --yes" in capsys.readouterr().err
    assert len(list((tmp_path / "runs").iterdir())) == 2


# ----------------------------------------------------------------------------------------------------- mistakes

BAD_FILES = {
    "empty.tsv": b"",
    "one.tsv": b"ab\n",
    "three.tsv": b"ab\tA\tB\n",
    "bytes.tsv": b"ab\tA\n\xff\tA\n",
    "source.tsv": b"ab\tA\n\tA\n",
    "target.tsv": b"ab\tA\nb\t\n",
    "long.tsv": b"a" * 5000 + b"\tA\n",
    "few.tsv": b"a\tA\nb\tB\n",
    "empty.txt": b"",
    "bytes.txt": b"ab\n\xff\n",
    "gap.txt": b"ab\n\nab\n",
    "unknown.txt": b"ab\naxb\n",
    "long.txt": b"a" * 5000 + b"\n",
    "tab.txt": b"a\tA\n",
    "broken.py": b"def experiments(:\n",
    "failing.py": b"import structpred\n1 / 0\n",
    "nothing.py": b"x = 1\n",
    "later.py": b"def experiments():\n    return undefined\n",
    "number.py": b"def experiments():\n    return 3\n",
    "json.py": b"def experiments():\n    return {}\n",
    "none.py": b"def experiments():\n    return {}\n",
}
TRAIN = f"train {' '.join(SMALL)} task=tsv task.train=train.tsv"
MISTAKES = {
    "": "expected a command, one of compare, train,",
    "trian": "there is no command 'trian'; did you mean 'train'?",
    "train --rot x": "there is no option --rot of train; did you mean '--root'?",
    "compare --seeds x": "--seeds: invalid literal for int() with base 10: 'x'",
    "compare --seeds": "Missing value for argument '--seeds'",
    "compare --seeds 0": "--seeds must be at least 1, but got 0",
    "compare --workers 0": "--workers must be at least 1, but got 0",
    "compare --device gpu": "invalid choice 'gpu'",
    "compare --root train.tsv": "train.tsv must be a folder, but train.tsv is a file",
    "compare --report train.tsv/deep": "train.tsv/deep must be a folder, but train.tsv is a file",
    "compare seed=3": "seed cannot be assigned; use --seeds",
    "compare --dry-run --baseline rml": "the baseline must be one of the arms, but got 'rml'; known names are ML",
    "compare objective=rml": "'ML' and 'smoothing' are the same experiment",
    "compare trainer.epochs=0": "trainer.epochs must be at least 1, but got 0",
    "compare --objectives": "--objectives takes one name or more, but got none",
    "compare --objectives rlm": "there is no objective named 'rlm'; did you mean 'rml'?",
    "compare one two": "expected one module of arms, or --objectives, but got one and two",
    "compare arms --objectives rml": "expected one module of arms, or --objectives, but got arms and rml",
    "compare nowhere.module": "nowhere.module cannot be imported (No module named 'nowhere')",
    "compare nowhere.py": "nowhere.py: there is no such file",
    "compare broken.py": "broken cannot be imported, because of a syntax error in line 1 of",
    "compare failing.py": "failing cannot be imported, because of ZeroDivisionError in line 2 of",
    "compare nothing.py": "nothing.py must define experiments()",
    "compare later.py": "later.py: experiments() failed with NameError in line 2 of",
    "compare number.py": "must return a dict of names and Experiments, but got 3",
    "compare json.py": "json.py has the name of another module",
    "compare none.py": "a comparison needs at least one arm, but got none",
    "compare structpred.objectives": "structpred.objectives must define experiments()",
    "train --threads 0": "--threads must be at least 1, but got 0",
    "train epochs": "expected field=value, such as trainer.epochs=10, but got 'epochs'",
    "train objective=rlm": "there is no objective named 'rlm'; did you mean 'rml'?",
    "train objective=rml objective.payoff.temperature.literal=0": "temperature.literal must be above 0, but got 0.0",
    "train objective=rml objective.estimator.k=0": "objective.estimator.k must be at least 1, but got 0",
    "train task=tsv task.train=nowhere.tsv": "nowhere.tsv must be a text file that can be read, but there is no such",
    "train task=tsv task.train=runs-to-be": "there is no such file",
    "train task=tsv task.train=.": ". must be a text file that can be read, but it is a folder; name a file in it",
    "train task=tsv task.train=empty.tsv": "empty.tsv must hold at least one line, but it is empty",
    "train task=tsv task.train=one.tsv": "one.tsv line 1 must be a source, a tab and a target, but it has 1 column",
    "train task=tsv task.train=three.tsv": "three.tsv line 1 must be a source, a tab and a target, but it has 3 col",
    "train task=tsv task.train=bytes.tsv": "bytes.tsv line 2 must be UTF-8, but byte 1 of the line is 0xff",
    "train task=tsv task.train=source.tsv": "source.tsv line 2: the source must hold at least one symbol",
    "train task=tsv task.train=target.tsv": "target.tsv line 2: the target must hold at least one symbol",
    "train task=tsv task.train=long.tsv": "long.tsv line 1: the source must have at most 400 symbols, but it has 5000",
    "train task=tsv task.train=few.tsv": "few.tsv must have more than 2 sources",
    f"{TRAIN} --root train.tsv": "train.tsv must be a folder, but train.tsv is a file",
    "evaluate": "Missing from structpred evaluate: RUN",
    "evaluate nowhere": "nowhere: expected the folder of a run, but there is no experiment.json in it",
    "evaluate RUN model.hidden=4": "only the task of a finished run may be assigned to, but got 'model.hidden=4'",
    "evaluate RUN --beam 0": "--beam must be at least 1, but got 0",
    "evaluate RUN --split tset": "invalid choice 'tset'",
    "evaluate RUN task.test=three.tsv": "three.tsv line 1 must be a source, a tab and a target",
    "predict RUN nowhere.txt": "nowhere.txt must be a text file that can be read, but there is no such file",
    "predict RUN empty.txt": "empty.txt must hold at least one line, but it is empty",
    "predict RUN bytes.txt": "bytes.txt line 2 must be UTF-8, but byte 1 of the line is 0xff",
    "predict RUN gap.txt": "gap.txt line 2: the input must hold at least one symbol, but it is empty",
    "predict RUN unknown.txt": "unknown.txt line 2: the symbol 'x' never occurs in the training data",
    "predict RUN long.txt": "long.txt line 1: the input must have at most 400 symbols, but it has 5000",
    "predict RUN tab.txt": "tab.txt line 1: the input must be a source alone",
    "predict RUN gap.txt --output out.txt": "gap.txt line 2: the input must hold at least one symbol",
    "predict RUN train.tsv --n-best 0": "--n-best must be at least 1, but got 0",
    "predict RUN train.tsv --n-best 2 --beam 3": "give it or --beam, not both",
    "predict RUN train.tsv --output nowhere/out.txt": "nowhere/out.txt must stand in a folder, but there is no nowhere",
    "predict RUN train.tsv --output .": ". must be a file, but it is a folder",
    "list objectve": "there is no family named 'objectve'; did you mean 'objective'?",
    "describe": "Missing from structpred describe: NAME",
    "describe rlm": "nothing is named 'rlm'; did you mean 'rml'?",
    "clean --root nowhere": "nowhere: there is no such folder",
    "clean --older-than soon": "could not convert string to float",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line_status_2_and_nothing_left_behind(
    words: str, trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name, content in BAD_FILES.items():
        (tmp_path / name).write_bytes(content)
    before = tree(tmp_path) | tree(trained)
    assert main([str(trained) if word == "RUN" else word for word in words.split()]) == 2
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith("structpred: ")
    assert MISTAKES[words] in line
    assert said.out == ""
    assert {path for path in tree(tmp_path) | tree(trained) if "__pycache__" not in path} == before


def test_a_mistake_that_only_the_data_show_leaves_no_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ("objective=rml", "objective.payoff.temperature.literal=100")
    assert main(["train", *FILES, *SMALL, *words]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("structpred: the edit-distance payoff over 3 labels exists only for")
    assert list((tmp_path / "runs").iterdir()) == []


# --------------------------------------------------------------------------------------- the world around a command


def full(*arguments: object) -> None:
    raise OSError(28, "No space left on device", "there/.weights.pt.0123.unfinished")


def test_a_full_disk_is_one_line_about_the_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("os.fsync", full)
    assert main(["train", *FILES, *SMALL]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "structpred: there/weights.pt: No space left on device"
    assert not [path for path in tree(tmp_path) if path.endswith(".unfinished")]


def test_too_little_memory_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*arguments: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")

    monkeypatch.setattr("structpred.cli.training.train", too_large)
    assert main(["train", *FILES]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("structpred: expected more memory than there is; lower trainer.batch_tokens")


def test_ctrl_c_is_one_line_and_status_130(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("structpred.cli.training.train", interrupted)
    assert main(["train", *FILES]) == 130
    assert capsys.readouterr().err == "structpred: interrupted; the same command goes on from here\n"


def test_a_warning_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command("list"), "run", lambda self, console: warnings.warn("two\nlines", stacklevel=1))
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["list"]) == 0
    assert capsys.readouterr().err == "structpred: warning: two lines\n"


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full and a shell")  # noqa: PTH110
def test_a_closed_pipe_and_a_full_output() -> None:
    command = f"{sys.executable} -m structpred list"
    run = subprocess.run(
        ["bash", "-c", f"{command} | head -n 1; echo ${{PIPESTATUS[0]}}; {command} > /dev/full; echo $?"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.splitlines() == ["family\tname\twhat it is", "0", "2"]
    assert run.stderr == "structpred: No space left on device\n"
