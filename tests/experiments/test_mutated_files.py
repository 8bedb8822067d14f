"""Damaged files of every reader, some of each here and thousands in the benchmark; and that faults would be seen."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from structpred.errors import DataError
from structpred.experiments.benchmarks import mutated_files
from structpred.experiments.benchmarks.damage import damage
from structpred.experiments.benchmarks.mutated_files import Outcome, survived
from structpred.experiments.benchmarks.readers import readers

READERS = readers()


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    outcome = survived(name, READERS[name], tmp_path, range(10_000, 10_025))
    assert outcome.faults == []
    assert sum(outcome.counts.values()) == 25
    assert outcome.counts["refused"] > 0 or name == "predict-inputs", "there each line is refused alone"


def traceback_of() -> None:
    raise ValueError("no sentence")


def two_lines() -> None:
    raise DataError("one\ntwo")


def for_ever() -> None:
    while True:
        pass


@pytest.mark.parametrize(
    ("read", "kind"), [(traceback_of, "tracebacks"), (two_lines, "tracebacks"), (for_ever, "too long")]
)
def test_a_fault_is_seen(read: Callable[[], None], kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutated_files, "LIMIT", 0.1)
    outcome = Outcome()
    outcome.add(7, read)
    assert dict(outcome.counts) == {kind: 1}
    assert outcome.faults[0].startswith("file 7: ")


def test_a_damage_can_be_had_again(tmp_path: Path) -> None:
    content = b"a\tb\n" * 50
    found: list[list[bytes | None]] = []
    for _ in range(2):
        found.append([])
        for number in range(40):
            path = tmp_path / str(number)
            if path.is_dir():
                path.rmdir()
            path.write_bytes(content)
            damage(path, content, random.Random(number))
            found[-1].append(path.read_bytes() if path.is_file() else None)
    assert found[0] == found[1]
    assert sum(each != content for each in found[0]) > 30
