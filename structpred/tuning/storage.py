"""Where studies are kept: a journal file, a database by its URL, or a gRPC proxy before one.

A file that is something else is recognised before anything is written to it, and a journal never keeps half a record.
"""

import json
import os
import re
import sqlite3
import time
import warnings
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, OptunaError, StorageInternalError
from optuna.storages import BaseStorage, GrpcStorageProxy, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from structpred.errors import ConfigError, RunError
from structpred.files import file_to_write, naming, os_error_message

PACKAGES = {"postgresql": "structpred[postgresql]", "mysql": "pymysql", "grpc": "structpred[grpc]"}
"""The package to install for a kind of URL."""
DRIVERS = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}
"""The driver from that package, for URLs that name none."""
_SQLITE = b"SQLite format 3\0"
_BEGINNING = b'{"op_code":0,"worker_id":"'
_LONGEST = 2**20
"""Most bytes of the first record of a journal."""


@contextmanager
def opened(place: str) -> Iterator[BaseStorage]:
    """A storage for the time of a block; see `open_storage`.

    Raises:
        RunError: the storage fails meanwhile.
    """
    storage = open_storage(place)
    try:
        yield storage
    except (OptunaError, SQLAlchemyError) as error:
        raise RunError(f"the storage {_shown(place)} failed: {_reason(error)}") from error
    finally:
        if isinstance(storage, RDBStorage):
            storage.remove_session()
            storage.engine.dispose()
        elif isinstance(storage, GrpcStorageProxy):
            storage.close()


def open_storage(place: str) -> BaseStorage:
    """A storage that studies are kept in.

    Args:
        place: the path of a journal file; or ``sqlite:///FILE``, ``postgresql://…``, ``mysql+pymysql://…`` as
            SQLAlchemy writes them; or ``grpc://HOST:PORT`` of `optuna.storages.run_grpc_proxy_server`.

    Raises:
        ConfigError: no such kind of storage, or its driver is not installed.
        RunError: it cannot be reached, or is no storage.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kind = _kind(place)
    try:
        if kind is None:
            return _journal(Path(place))
        return _proxy(place) if kind == "grpc" else _database(place)
    except ImportError as error:
        needed = PACKAGES.get(kind or "", "a driver for it")
        raise ConfigError(f"{_shown(place)} needs a package that is not installed: pip install {needed}") from error


def file_of(place: str) -> Path | None:
    """The file of a journal or of an SQLite database; None for a database elsewhere, or in memory."""
    kind = _kind(place)
    if kind is None:
        return Path(place)
    url = _parsed(place)
    name = url.database if kind == "sqlite" and url is not None else None
    return None if not name or name == ":memory:" or name.startswith("file:") else Path(name)


def _kind(place: str) -> str | None:
    """The kind of database that a URL names, without its driver; None for a path.

    Raises:
        ConfigError: neither a path nor a URL.
    """
    if not place or "\0" in place:
        raise ConfigError(f"expected a path or a URL as storage, but got {place!r}")
    before, colon, after = place.partition(":")
    kind = before.partition("+")[0].lower()
    if colon and after.startswith("//"):
        return kind
    if colon and kind in {"sqlite", *DRIVERS, *PACKAGES}:  # as a path it would be a folder of that name
        raise ConfigError(f"expected a path, or a URL such as sqlite:///FILE, as storage, but got {_shown(place)}")
    return None


def _parsed(url: str) -> URL | None:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        return None


def _shown(url: str) -> str:
    """The URL without its password."""
    return re.sub(r"(//[^/@:]*):[^@]*@", r"\1:***@", url)


def _reason(error: Exception) -> str:
    """The first line of what the driver said, which Optuna's own exception only has as its cause."""
    return next(iter(str(error.__cause__ or error).splitlines()), type(error).__name__)[:300]


def _proxy(place: str) -> BaseStorage:
    url = _parsed(place)
    if url is None or not url.host or not 0 < (url.port or 0) < 2**16:
        raise ConfigError(f"expected grpc://HOST:PORT, but got {place}")
    with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
        proxy = GrpcStorageProxy(host=url.host, port=url.port or 0)
    try:
        proxy.wait_server_ready(timeout=8)
    except ConnectionError as error:
        raise RunError(f"{place}: no gRPC proxy of Optuna answers there; start run_grpc_proxy_server first") from error
    return proxy


def _database(place: str) -> BaseStorage:
    scheme, rest = place.split("://", 1)
    if (path := file_of(place)) is not None:
        _refuse_foreign_database(path)
    for delay in (0.2, 0.4, 0.6, 0.8, None):
        try:
            return RDBStorage(f"{DRIVERS.get(scheme, scheme)}://{rest}")
        except (ArgumentError, NoSuchModuleError, ValueError):
            expected = "expected a path, or a URL of sqlite, postgresql, mysql or grpc"
            raise ConfigError(f"{_shown(place)} is no storage; {expected}") from None
        except (SQLAlchemyError, StorageInternalError, RuntimeError) as error:
            if delay is None:
                raise RunError(f"{_shown(place)} cannot be used: {_reason(error)}") from error
            time.sleep(delay)  # another process may be making the tables
    raise AssertionError("the last attempt returns or raises")


def _refuse_foreign_database(path: Path) -> None:
    """Look at an SQLite file without writing: Optuna would add its tables to any database.

    Raises:
        ConfigError: the file is no database of studies, or stands in no folder.
        RunError: it cannot be read.
    """
    file_to_write(path)
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=2)) as connection:
            rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    except sqlite3.Error as error:
        if "not a database" in str(error):
            raise ConfigError(f"{path} is no SQLite database, and is left as it is; name another file") from None
        raise RunError(f"{path} cannot be read: {error}") from error
    tables = [str(name) for (name,) in rows]
    if tables and not {"studies", "trials", "version_info"} <= set(tables):
        others = f"{path} is a database of something else, with the tables {', '.join(tables[:5])},"
        raise ConfigError(f"{others} and is left as it is; name another file")


def _journal(path: Path) -> JournalStorage:
    """Open a journal file, or begin one; an existing file is only read."""
    try:
        _refuse_foreign_file(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalBackend(path))
    except ConfigError:
        raise
    except OSError as error:
        raise RunError(f"{path} cannot be used as a journal file: {os_error_message(error)}") from error
    except Exception as error:  # Optuna replays the records and may fail in any way
        damage = _damage(path)
        raise RunError(f"{path} is a journal of studies, but {damage}; restore a copy or name another file") from error


def _refuse_foreign_file(path: Path) -> None:
    """Accept an empty file, and one whose first record begins a study; that record may have been cut.

    Raises:
        ConfigError: there is something else in its place, such as a folder, a database or a text.
    """
    if not path.exists():
        return
    if not path.is_file():
        kind = "a folder; name a file in it" if path.is_dir() else "no regular file; name another one"
        raise ConfigError(f"{path} must be a journal file, but it is {kind}")
    with path.open("rb") as stream:
        first = stream.readline(_LONGEST)
    if first.startswith(_SQLITE):
        raise ConfigError(f"{path} is an SQLite database, not a journal; write sqlite:///{path.as_posix()}")
    record = _record(first)
    begins = record.get("op_code") == 0 and all(isinstance(record.get(n), str) for n in ("worker_id", "study_name"))
    if first and not (begins if first.endswith(b"\n") else first.startswith(_BEGINNING)):
        raise ConfigError(f"{path} holds something else than a journal of studies, and is left as it is; name another")


def _record(line: bytes) -> dict[str, Any]:
    """The record on a line; empty where there is none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _damage(path: Path) -> str:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not isinstance(_record(line).get("op_code"), int):
                return f"its line {number} is damaged"
    return "its records contradict one another"


class JournalBackend(JournalFileBackend):
    """A journal file whose damage is an error of the storage, and whose records are there whole or not at all.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._journal = path
        super().__init__(str(path), lock_obj=_WholeRecords(path))

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """The records from a number on.

        Raises:
            StorageInternalError: one of them is damaged.
        """
        try:
            yield from super().read_logs(log_number_from)
        except ValueError as error:
            raise StorageInternalError(f"{self._journal}: {error}") from error

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add records, and wait until they are on the disk.

        Raises:
            OSError: they could not be written; the file is as it was.
        """
        with naming(self._journal):
            super().append_logs(logs)


class _WholeRecords(JournalFileSymlinkLock):
    """A lock that cuts off half a record, before anything is written behind it and after a write that failed.

    A machine that goes down or a full disk leaves half a record. No reader ever took it for one, but with another
    record behind it the file could no longer be read.
    """

    def __init__(self, path: Path) -> None:
        # The lock is a link to this path. Optuna takes its age from the file behind it, which a relative link misses.
        super().__init__(str(path.absolute()))
        self._journal = path

    def acquire(self) -> bool:
        """Take the lock, then cut."""
        acquired = super().acquire()
        try:
            self._cut()
        except BaseException:  # such as Ctrl-C: the caller does not know that it has the lock
            super().release()
            raise
        return acquired

    def release(self) -> None:
        """Cut, then release the lock."""
        try:
            self._cut()
        finally:
            super().release()

    def _cut(self) -> None:
        with suppress(OSError), self._journal.open("rb+") as stream:  # a file that cannot be written is said by Optuna
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(size - 1, 0))
            if stream.read() not in (b"", b"\n"):
                stream.seek(0)
                stream.truncate(stream.read().rfind(b"\n") + 1)
