"""What is given as storage: a file that is something else is named and left as it is, a journal is never spoilt."""

import json
import os
import resource
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import optuna
import pytest

from structpred.errors import ConfigError, RunError, StructpredError
from structpred.tuning.storage import _WholeRecords, file_of, open_storage, opened
from tests.support.studies import quick
from tests.support.tuning import rate

RECORD = '{"op_code":0,"worker_id":"w-0","study_name":"s","directions":[1]}\n'


def sqlite(path: Path, table: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE {table} (x)")
        connection.execute(f"INSERT INTO {table} VALUES (1)")
        connection.commit()


@pytest.mark.parametrize(
    "content",
    [
        b"one line of notes\n", b"notes without an end", b"[1,2]\n", b"[1,2]", b"null\n", b"3\n", b'"text"\n', b"{}\n",
        b"{", b'{"op_code":1}\n', b'{"op_code":"0","worker_id":"w"}\n', b'{"op_code":0,"worker_id":"w"}\n', b"\n",
        b"\0\xff\xfe" * 99, b"[" * 100_000 + b"\n", b"x" * 2**21, "näive".encode("latin-1"), RECORD.encode()[:9],
        b"notes\n" + RECORD.encode(),
    ],
)  # fmt: skip
def test_what_is_no_journal_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "notes.txt"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="holds something else than a journal of studies, and is left"):
        quick(rate, tmp_path, storage=file)
    assert file.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]


def test_the_url_of_an_sqlite_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    sqlite(file, "cats")
    before = file.read_bytes()
    with pytest.raises(ConfigError, match=rf"is an SQLite database.*write sqlite:///{file}$"):
        quick(rate, tmp_path, storage=file)
    assert file.read_bytes() == before


def test_a_database_of_something_else_gets_no_tables_of_ours(tmp_path: Path) -> None:
    file = tmp_path / "cats.db"
    sqlite(file, "cats")
    before = file.read_bytes()
    with pytest.raises(ConfigError, match="is a database of something else, with the tables cats"):
        quick(rate, tmp_path, storage=f"sqlite:///{file}")
    assert file.read_bytes() == before
    file.write_text("no database at all, but long enough to be taken for one by its size alone\n" * 9)
    with pytest.raises(ConfigError, match="is no SQLite database, and is left as it is"):
        quick(rate, tmp_path, storage=f"sqlite:///{file}")


@pytest.mark.parametrize(
    "damage", ["[1,2]\n", "null\n", "not JSON\n", '{"op_code":99}\n', '{"op_code":4}\n', "\udcff\n", '{"op_code":4\n']
)
def test_a_damaged_journal_is_said_with_its_line_and_left_as_it_is(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "journal"
    content = f"{RECORD}{damage}{RECORD.replace('s', 't')}".encode(errors="surrogateescape")
    file.write_bytes(content)
    with pytest.raises(RunError, match=r"journal of studies, but its (line 2 is damaged|records contradict)") as caught:
        quick(rate, tmp_path, storage=file)
    assert ("line 2" in str(caught.value)) == ("op_code" not in damage or damage.endswith("4\n"))
    assert file.read_bytes() == content


def test_an_empty_file_and_a_journal_of_optunas_own_are_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert len(quick(rate, tmp_path, storage=tmp_path / "empty").studies["tuning"].finished) == 4
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "theirs"))
    optuna.create_study(storage=optuna.storages.JournalStorage(backend), study_name="theirs")
    quick(rate, tmp_path, storage=tmp_path / "theirs")
    with opened(str(tmp_path / "theirs")) as storage:
        assert {study.study_name for study in storage.get_all_studies()} == {"theirs", "tuning"}


@pytest.mark.parametrize("rest", [b'{"op_code":8,"wor', b"\xff\xff", RECORD.encode().rstrip(), b"x" * 5000])
def test_a_rest_is_cut_off_with_the_next_record_and_not_by_reading(tmp_path: Path, rest: bytes) -> None:
    file = tmp_path / "journal"
    with opened(str(file)) as storage:
        optuna.create_study(storage=storage, study_name="one")
    whole = file.read_bytes()
    file.write_bytes(whole + rest)
    with opened(str(file)) as storage:
        assert file.read_bytes() == whole + rest
        optuna.create_study(storage=storage, study_name="two")
        assert file.read_bytes().startswith(whole + b'{"op_code":0')
    with opened(str(file)) as storage:
        assert [study.study_name for study in storage.get_all_studies()] == ["one", "two"]


def test_a_cut_first_record_is_mended(tmp_path: Path) -> None:
    file = tmp_path / "journal"
    file.write_bytes(RECORD.encode()[:40])
    assert len(quick(rate, tmp_path, storage=file).studies["tuning"].finished) == 4


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What a full disk does, in one process."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_where_the_disk_is_full_a_journal_gets_no_half_record(tmp_path: Path) -> None:
    file = tmp_path / "journal"
    with opened(str(file)) as storage:
        study = optuna.create_study(storage=storage, study_name="one")
        before = file.read_bytes()
        with files_of_at_most(len(before) + 10), pytest.raises(OSError, match="File too large") as caught:
            study.set_user_attr("name", "value")
        assert caught.value.filename == str(file)
        assert file.read_bytes() == before
        study.set_user_attr("name", "value")
    assert [json.loads(line)["op_code"] for line in file.read_text().splitlines()] == [0, 2]
    assert [each.name for each in tmp_path.iterdir()] == ["journal"]


def test_what_cannot_be_read_or_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        RunError, match=r"file/journal cannot be used as a journal file: .*/file: (Not a directory|File exists)"
    ):
        quick(rate, tmp_path, storage=tmp_path / "file" / "journal")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="no regular file"):
        quick(rate, tmp_path, storage=tmp_path / "pipe")
    (tmp_path / "journal").write_text(RECORD)

    def denied(self: Path, *arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", denied)  # permissions do not bind root, as who tests often run
    with pytest.raises(RunError, match=r"journal cannot be used as a journal file: .*: Permission denied"):
        quick(rate, tmp_path, storage=tmp_path / "journal")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("", "expected a path or a URL as storage, but got ''"),
        ("a\0b", "expected a path or a URL"),
        ("sqlite:/x.db", "such as sqlite:///FILE"),
        ("postgresql:host/x", "such as sqlite:///FILE"),
        ("://", "is no storage"),
        ("http://[abc", "is no storage"),
        ("postgresql://me:secret@host:port/x", r"me:\*\*\*@host:port/x is no storage"),
        ("postgresql://me:secret@[::1", r"me:\*\*\*@.*is no storage"),
        ("grpc://host:99999", "expected grpc://HOST:PORT"),
        ("grpc://host:port", "expected grpc://HOST:PORT"),
        ("sqlite:///no/such/folder/s.db", "there is no no/such/folder; make it first"),
        ("sqlite:///.", r"\. must be a file, but it is a folder; name a file in it"),
    ],
)
def test_a_wrong_url_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=said):
        open_storage(place)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_locked_database_is_said_when_it_is_opened_and_when_it_is_used(tmp_path: Path) -> None:
    file = tmp_path / "s.db"
    url = f"sqlite:///{file}?timeout=0.1"
    quick(rate, tmp_path, storage=url, trials=1)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StructpredError, match="locked"):
            quick(rate, tmp_path, storage=url, trials=2)
    with pytest.raises(RunError, match=r"the storage sqlite:.*s.db.timeout=0.1 failed: .*locked"):
        _write_while_another_does(url, file)


def _write_while_another_does(url: str, file: Path) -> None:
    with opened(url) as storage, closing(sqlite3.connect(file, isolation_level=None)) as other:
        study = optuna.load_study(study_name="tuning", storage=storage)
        other.execute("BEGIN EXCLUSIVE")
        study.set_user_attr("name", "value")


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("sqlite:///a/x.db", "a/x.db"),
        ("sqlite+pysqlite:///x", "x"),
        ("sqlite.journal", "sqlite.journal"),
        ("sqlite://", None),
        ("postgresql://host/x", None),
        ("grpc://host:1", None),
    ],
)
def test_the_file_of_a_storage_is_what_a_driver_locks(place: str, expected: str | None) -> None:
    assert file_of(place) == (None if expected is None else Path(expected))


def test_a_lock_whose_owner_died_is_broken_wherever_the_journal_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    journal = Path("runs", "tuning.journal")
    journal.write_text(RECORD, encoding="utf-8")
    assert _WholeRecords(journal).acquire(), "and its owner dies"
    lock = _WholeRecords(journal)
    lock.grace_period = 1
    assert lock.acquire()
    lock.release()
    assert [each.name for each in journal.parent.iterdir()] == ["tuning.journal"]


@pytest.mark.parametrize("held", [False, True], ids=["while it is taken", "while it is released"])
def test_ctrl_c_leaves_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: bool) -> None:
    journal = tmp_path / "tuning.journal"
    journal.write_text(RECORD, encoding="utf-8")
    lock = _WholeRecords(journal)
    if held:
        lock.acquire()

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(lock, "_cut", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lock.release() if held else lock.acquire()
    assert [each.name for each in tmp_path.iterdir()] == ["tuning.journal"]
