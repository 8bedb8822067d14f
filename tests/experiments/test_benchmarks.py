"""Every benchmark can be run; where something is missing that is said, and told apart from failure."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from structpred.errors import AbsentError, ConfigError, StructpredError
from structpred.experiments.benchmarks import sampling, translation, translation_start
from structpred.experiments.benchmarks.__main__ import FOLDER, benchmarks, main, run_all
from structpred.experiments.benchmarks.measuring import MissingPeer, standalone


def test_benchmarks_are_what_has_a_main_and_helpers_are_not() -> None:
    found = benchmarks()
    assert {"linear_chain", "kills", "translation"} <= set(found)
    assert not {"captions", "measuring", "on_device", "__main__"} & set(found)


@pytest.mark.parametrize("name", benchmarks())
def test_each_ends_by_itself_in_the_same_way(name: str) -> None:
    assert callable(importlib.import_module(f"structpred.experiments.benchmarks.{name}").main)
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    assert text.endswith('\n\nif __name__ == "__main__":\n    standalone(main)\n')


def test_one_that_fails_or_is_skipped_does_not_keep_the_others_from_running(capsys: pytest.CaptureFixture[str]) -> None:
    statuses = {"a": 77, "b": 1, "c": 0}
    assert run_all(list(statuses), statuses.__getitem__) == 1
    assert capsys.readouterr().out == "a:\nb:\nc:\nBenchmarks: 1 measured (c); 1 skipped (a); 1 failed (b)\n"
    assert run_all(["a", "c"], statuses.__getitem__) == 0


def test_a_name_that_is_not_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["captions"]) == 2
    assert "no benchmark is named 'captions'; there are allocators, compare_kills, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (MissingPeer("install it"), 77, "skipped: install it\n"),
        (AbsentError("get them"), 77, "skipped: get them\n"),
        (ConfigError("a mistake"), 2, "structpred: a mistake\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_is_said_is_one_line(
    error: StructpredError, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusing() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        standalone(refusing)
    assert ended.value.code == status
    assert capsys.readouterr().err == message


def test_a_peer_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["translation"])
    monkeypatch.setattr(translation, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="77"):
        standalone(translation.main)
    said = capsys.readouterr().err
    assert said.startswith("skipped: this benchmark measures JoeyNMT beside ours, but joeynmt, ")
    assert said.count("\n") == 1


@pytest.fixture(autouse=True)
def _process() -> Iterator[None]:
    """What a benchmark sets for its process is undone."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither data nor cache, and a network that refuses; processes that are started inherit it."""
    for name in ("STRUCTPRED_DATA", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")


@pytest.mark.slow
@pytest.mark.usefixtures("no_data")
@pytest.mark.filterwarnings("ignore::structpred.downloads.RestrictedDataWarning")
@pytest.mark.parametrize("benchmark", [sampling, translation_start], ids=["here", "in a process of its own"])
def test_data_that_are_absent_are_named(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["benchmark"])
    with pytest.raises(SystemExit, match="77"):
        standalone(benchmark.main)
    said = capsys.readouterr().err
    assert said.startswith("skipped: tok/train.lc.norm.tok.en of Multi30k must be downloaded, but ")
    assert said.count("\n") == 1
