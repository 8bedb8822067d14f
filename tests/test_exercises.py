"""What a newcomer writes, as docs/extending.md shows it: short, and used from Python and from the command line."""

import io
import re
import shlex
import tokenize
from pathlib import Path

import pytest

from tests.support.forked import python

PAGE = Path(__file__).resolve().parents[1] / "docs" / "extending.md"
FEW = 25
"""Lines of code, without blank lines, comments and docstrings."""

FILES = ("my_objective.py", "my_reward.py", "my_model.py", "my_metric.py")


def shown(language: str) -> list[str]:
    """The blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def code_of(name: str) -> str:
    (code,) = (block for block in shown("python") if block.startswith(f"# {name}\n"))
    return code


def lines_of(code: str) -> set[int]:
    """The lines that hold more than a comment or a docstring."""
    beside = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    found: set[int] = set()
    begins = True  # a string that begins a statement is a docstring
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type not in beside and not (begins and token.type == tokenize.STRING):
            found |= set(range(token.start[0], token.end[0] + 1))
        begins = token.type in beside
    return found


def test_lines_of_code_are_counted() -> None:
    assert lines_of('# a comment\n"""Words\nof it."""\n\nx = """y\nz"""  # more\n') == {5, 6}


@pytest.mark.parametrize("name", FILES)
def test_it_is_short(name: str) -> None:
    assert 3 <= len(lines_of(code_of(name))) < FEW


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that a newcomer has written."""
    folder = tmp_path_factory.mktemp("desk")
    for name in FILES:
        (folder / name).write_text(code_of(name), encoding="utf-8")
    return folder


def run(words: list[str], folder: Path) -> str:
    done = python(words, folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_it_is_used_from_python(name: str, desk: Path) -> None:
    module = name.removesuffix(".py")
    (use,) = (block for block in shown("python") if f"from {module} import" in block)
    assert "{'" in run(["-c", use], desk), "scores are printed"


COMMANDS = [line for block in shown("sh") for line in block.replace("\\\n", " ").splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: line[:60])
def test_it_is_used_from_the_command_line(line: str, desk: Path) -> None:
    program, *words = shlex.split(line)
    assert program == "structpred"
    said = run(["-m", "structpred", *words], desk)
    assert ("test" in said) if words[0] == "train" else ("per-token-likelihood" in said or "length" in said)


def test_there_is_a_command_for_each_file() -> None:
    words = {word for line in COMMANDS for word in line.split()}
    assert words >= {*FILES}
