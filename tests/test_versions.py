"""Which Pythons are promised, found and used."""

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PROMISED = [minor for minor in range(30) if SpecifierSet(PROJECT["requires-python"]).contains(f"3.{minor}.5")]

Fake = Callable[..., Path]


# ----------------------------------------------------------------------------------------------- what is written


def test_the_classifiers_name_the_versions_that_are_promised() -> None:
    prefix = "Programming Language :: Python :: 3."
    assert [int(each.removeprefix(prefix)) for each in PROJECT["classifiers"] if each.startswith(prefix)] == PROMISED


@pytest.mark.parametrize("name", ["Makefile", "CONTRIBUTING.md", "README.md", ".ci/run"])
def test_documents_name_the_versions_that_are_promised(name: str) -> None:
    spans = re.findall(r"3\.(\d+)\s+to\s+3\.(\d+)", (ROOT / name).read_text(encoding="utf-8"))
    assert {(int(low), int(high)) for low, high in spans} == {(PROMISED[0], PROMISED[-1])}


def test_make_looks_for_the_versions_that_are_promised_and_accepts_no_other() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    (looked_for,) = re.findall(r"in (3\.[\d. ]+); do", text)
    assert looked_for.split() == [f"3.{minor}" for minor in reversed(PROMISED)]
    assert f"(3, {PROMISED[0]}) <= sys.version_info[:2] < (3, {PROMISED[-1] + 1})" in text
    assert " ".join(f"python3.{minor}" for minor in reversed(PROMISED)) in text


# ------------------------------------------------------------------------------------------------- what is found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with our Makefile, and a folder of commands in which nothing but the shell's own are found."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "bin").mkdir()
    for name in ("sh", "make"):
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    return tmp_path


@pytest.fixture
def fake(place: Path) -> Fake:
    """Writes a command that prints one line and ends with a status, as an interpreter that is asked for its version."""

    def write(name: str, prints: str = "", status: int = 0) -> Path:
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\necho '{prints}'\nexit {status}\n", encoding="utf-8")
        path.chmod(0o755)
        return path

    return write


def other_python(place: Path) -> subprocess.CompletedProcess[str]:
    command = [str(shutil.which("make")), "--silent", "other-python"]
    environment = {**os.environ, "PATH": str(place / "bin"), "MAKEFLAGS": ""}
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=60)


def test_the_newest_python_of_another_version_is_found(place: Path, fake: Fake) -> None:
    fake(".venv/bin/python", "3.11")
    fake("bin/python3.11", "3.11")
    fake("bin/python3.12", "3.12")
    assert other_python(place).stdout == "python3.12\n"
    fake("bin/python3.13", "3.13")
    assert other_python(place).stdout == "python3.13\n"
    fake(".venv/bin/python", "3.13")
    assert other_python(place).stdout == "python3.12\n"


def test_before_there_is_a_venv_the_default_is_what_would_be_taken_for_it(place: Path, fake: Fake) -> None:
    fake("bin/python3", "3.13")
    fake("bin/python3.13", "3.13")
    fake("bin/python3.12", "3.12")
    assert other_python(place).stdout == "python3.12\n"


def test_those_of_pyenv_are_found_though_its_shims_fail(place: Path, fake: Fake) -> None:
    fake(".venv/bin/python", "3.11")
    fake("bin/python3.13", "pyenv: python3.13: command not found", status=127)
    fake("bin/python3.12", "3.12")
    fake("bin/pyenv", str(place / "pyenv"))
    hidden = fake("pyenv/versions/3.13.0/bin/python3.13", "3.13")
    assert other_python(place).stdout == f"{hidden}\n"


def test_where_there_is_no_other_that_is_said(place: Path, fake: Fake) -> None:
    fake(".venv/bin/python", "3.11")
    fake("bin/python3.11", "3.11")
    fake("bin/python3.14", "3.14")
    found = other_python(place)
    assert (found.returncode, found.stdout) == (2, "")
    assert "No Python from 3.11 to 3.13 was found other than 3.11" in found.stderr
