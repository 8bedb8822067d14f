"""Help of all commands and of each, and its examples."""

import inspect
import re
from importlib import metadata

import pytest

from structpred.cli import main
from structpred.cli.commands import COMMANDS

pytestmark = pytest.mark.usefixtures("own_folder")


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
    monkeypatch.setattr(COMMANDS[name], "run", lambda self, console: ran.append(self))
    documented = inspect.getdoc(COMMANDS[name]) or ""  # Python 3.13 takes the indentation away, others keep it
    examples = [line for line in documented.splitlines() if line.startswith("  structpred")]
    for line in examples:
        assert main(line.split()[1:]) == 0, line
    assert len(ran) == len(examples) > 0


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"structpred {metadata.version('structpred')}\n"
