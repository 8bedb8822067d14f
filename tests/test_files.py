import os
import threading
from pathlib import Path

import pytest

from structpred.errors import ConfigError
from structpred.files import RUN_FILES, file_to_write, folder_to_write, replacing, root_of_runs, write_atomically
from structpred.runs.folder import Folder, files_of


def test_text_and_bytes_arrive_whole(tmp_path: Path) -> None:
    path = write_atomically(tmp_path / "report.md", "τ = 0,75\n")
    assert path.read_bytes() == "τ = 0,75\n".encode()
    write_atomically(path, b"\x00\r\n")
    assert path.read_bytes() == b"\x00\r\n"
    assert list(tmp_path.iterdir()) == [path]


def _write_half(path: Path) -> None:
    with replacing(path) as stream:
        stream.write(b"half")
        stream.flush()
        raise KeyboardInterrupt


def test_a_failure_midway_leaves_the_old_content_and_nothing_beside(tmp_path: Path) -> None:
    path = write_atomically(tmp_path / "results.json", "old")
    with pytest.raises(KeyboardInterrupt):
        _write_half(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_to_reach_the_disk_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_atomically(tmp_path / "results.json", "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("structpred.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_readers_see_the_old_content_until_the_new_is_whole(tmp_path: Path) -> None:
    path = write_atomically(tmp_path / "results.json", "old")
    with replacing(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_what_a_link_leads_to_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "out.txt"
    link.symlink_to(tmp_path / "there" / "kept.txt")
    for content in ("new", "newer"):
        file_to_write(link)
        write_atomically(link, content)
        assert link.is_symlink()
        assert (tmp_path / "there" / "kept.txt").read_text() == content
    astray = tmp_path / "astray.txt"
    astray.symlink_to(tmp_path / "nowhere" / "kept.txt")
    with pytest.raises(ConfigError, match=r"astray.txt must stand in a folder, but there is no .*nowhere; make it"):
        file_to_write(astray)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_written_and_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As are devices: a root user's ``/dev/null`` must not become a file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    file_to_write(pipe)
    write_atomically(pipe, "predictions")
    reader.join()
    assert read == [b"predictions"]
    assert pipe.is_fifo()
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)
    file_to_write(pipe)  # /dev belongs to root, but /dev/null is everybody's
    monkeypatch.setattr("os.access", lambda path, mode: path != pipe)
    with pytest.raises(ConfigError, match=r"pipe must be a file that can be written, but .*pipe is read-only"):
        file_to_write(pipe)


def test_permissions_follow_the_umask_as_for_any_new_file(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("x")
    assert write_atomically(tmp_path / "atomic", "x").stat().st_mode == plain.stat().st_mode


def test_a_folder_that_cannot_be_made_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)
    folder_to_write(tmp_path, of_runs=True)  # finished runs are only read
    for of_runs in (False, True):
        with pytest.raises(ConfigError, match=r"must be a folder that can be made, but .* is read-only; name another"):
            folder_to_write(tmp_path / "reports" / "new", of_runs=of_runs)
    with pytest.raises(ConfigError, match=r"must be a folder that can be written, but it is read-only; name another"):
        folder_to_write(tmp_path)
    with pytest.raises(ConfigError, match=r"out.txt must be a file that can be written, but .* is read-only"):
        file_to_write(tmp_path / "out.txt")


def test_a_root_of_runs_is_a_folder_or_can_become_one(tmp_path: Path) -> None:
    assert root_of_runs(str(tmp_path / "new" / "runs")) == tmp_path / "new" / "runs"
    with pytest.raises(ConfigError, match=r"^root must be the folder of run folders, text or a Path, but got 3$"):
        root_of_runs(3)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"must be a folder, but .*file is a file"):
        root_of_runs(tmp_path / "file")


def test_nothing_is_written_into_the_folder_of_a_run(tmp_path: Path) -> None:
    assert set(RUN_FILES) <= {path.name for path in files_of(Folder(Path()))}
    run = tmp_path / "runs" / "0123"
    run.mkdir(parents=True)
    (run / "experiment.json").touch()
    file_to_write(run / "out.txt")  # not yet a run: users have files of that name as well
    (run / "record.json").touch()
    (tmp_path / "link").symlink_to(run)
    for write in (file_to_write, folder_to_write):
        for place in (run / "out", run / "deeper" / "out", tmp_path / "link" / "out"):
            with pytest.raises(ConfigError, match=r"must be outside the folders of runs, but .*0123 is one"):
                write(place)
    folder_to_write(run.parent)
