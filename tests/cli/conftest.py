"""A folder of its own for each command, and a finished run for all."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from structpred.cli import main
from tests.support.commands import SMALL, absolute, write_data


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands run in a folder of their own, and the number of threads they set is put back."""
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("trained")
    write_data(folder)
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert main(["train", *absolute(folder), *SMALL]) == 0
    (run,) = (folder / "runs").iterdir()
    return run
