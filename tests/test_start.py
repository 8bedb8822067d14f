"""Nothing that takes seconds is imported before it is needed, and Ctrl-C in those seconds is one line."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import structpred
from structpred.cli.commands import COMMANDS

HEAVY = {"torch", "numpy", "optuna", "lightning_fabric", "matplotlib", "scipy", "gymnasium", "jaxtyping"}
LIGHT = """
import sys
import structpred

words = sys.argv[1:]
if words:
    from structpred.cli import main
    assert main(words) == (2 if words == ["no-such-command"] else 0)
print(*{name.partition(".")[0] for name in sys.modules}, sep="\\n")
"""
LINES = [[], ["--help"], ["--version"], ["no-such-command"], *([name, "--help"] for name in COMMANDS)]
PRESSED = """
import signal
import sys
from importlib.abc import MetaPathFinder
from structpred.cli import main

class Pressed(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "torch.nn":  # in the middle of importing torch
            signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Pressed())
raise SystemExit(main(["list"]))
"""


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.parametrize("words", LINES, ids=lambda words: " ".join(words) or "import structpred")
def test_neither_the_package_nor_help_imports_what_takes_seconds(words: list[str]) -> None:
    done = python(LIGHT, *words)
    assert (done.returncode, done.stderr.count("\n")) == (0, words == ["no-such-command"]), done.stderr
    assert HEAVY & set(done.stdout.splitlines()) == set()
    assert "structpred" in done.stdout.splitlines()


@pytest.mark.slow
def test_reading_runs_imports_pytorch_but_not_what_only_training_reports_and_tuning_need() -> None:
    reading = "import structpred.runs, structpred.objectives, structpred.tasks"
    done = python(LIGHT.replace("words = ", f"{reading}; words = "))
    imported = set(done.stdout.splitlines())
    assert {"torch", "numpy", "jaxtyping"} <= imported
    assert imported & (HEAVY - {"torch", "numpy", "jaxtyping"}) == set()


@pytest.mark.slow(seconds=2)
def test_ctrl_c_while_pytorch_is_imported_is_one_line_and_status_130() -> None:
    done = python(PRESSED)
    assert done.returncode == 130
    assert done.stderr == "structpred: interrupted\n"


def test_a_type_checker_and_python_find_every_public_name_in_the_same_home() -> None:
    tree = ast.parse(Path(structpred.__file__).read_text(encoding="utf-8"))
    (checked,) = (node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name))
    imports = [node for node in checked.body if isinstance(node, ast.ImportFrom)]
    assert {alias.name: node.module for node in imports for alias in node.names} == structpred._HOMES
    assert sorted(structpred._HOMES) == structpred.__all__
    assert set(structpred.__all__) <= set(dir(structpred))
    for name in structpred.__all__:
        assert getattr(structpred, name).__name__ == name


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'structpred' has no attribute 'nothing'"):
        getattr(structpred, "nothing")  # noqa: B009 - as an attribute, mypy would refuse it
