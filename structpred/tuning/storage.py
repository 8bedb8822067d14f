"""Where studies are kept: a journal file, a database by its URL, or a gRPC proxy before one."""

import re
import sqlite3
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import optuna
from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.storages import BaseStorage, GrpcStorageProxy, RDBStorage
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from structpred.errors import ConfigError, RunError
from structpred.tuning.journal import open_journal

DRIVERS = {"postgresql": "structpred[postgresql]", "mysql": "pymysql", "grpc": "structpred[grpc]"}
"""What to install for which kind of URL."""
WITH_DRIVER = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}
TRIES = 5


def default_storage(root: Path) -> str:
    """The journal file beside the runs."""
    return str(root / "tuning.journal")


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
    scheme = _scheme(place)
    try:
        if scheme is None:
            return open_journal(Path(place))
        if scheme == "grpc":
            return _proxy(place)
        return _database(_with_driver(place))
    except ImportError as error:
        needed = DRIVERS.get(scheme or "", "a driver for it")
        raise ConfigError(f"{_shown(place)} needs a package that is not installed: pip install {needed}") from error


def file_of(place: str) -> Path | None:
    """The file of a journal or of an SQLite database; None for a database elsewhere, or in memory."""
    scheme = _scheme(place)
    if scheme is None:
        return Path(place)
    return _sqlite_file(place) if scheme == "sqlite" else None


def _sqlite_file(url: str) -> Path | None:
    try:
        name = make_url(url).database
    except (ArgumentError, ValueError):
        return None  # which is said when it is opened
    return None if not name or name == ":memory:" or name.startswith("file:") else Path(name)


def _scheme(place: str) -> str | None:
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
    if colon and kind in {"sqlite", *WITH_DRIVER, *DRIVERS}:  # as a path it would be a folder of that name
        raise ConfigError(f"expected a path, or a URL such as sqlite:///FILE, as storage, but got {_shown(place)}")
    return None


def _proxy(place: str) -> BaseStorage:
    try:
        parts = urlsplit(place)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port is None:
        raise ConfigError(f"expected grpc://HOST:PORT, but got {place}")
    with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
        proxy = GrpcStorageProxy(host=host, port=port)
    try:
        proxy.wait_server_ready(timeout=8)
    except ConnectionError as error:
        raise RunError(f"{place}: no gRPC proxy of Optuna answers there; start run_grpc_proxy_server first") from error
    return proxy


def _database(url: str) -> BaseStorage:
    if _scheme(url) == "sqlite":
        _refuse_another_file(url)
    for attempt in range(1, TRIES + 1):
        try:
            return RDBStorage(url)
        except (ArgumentError, NoSuchModuleError, ValueError):  # ValueError: a port that is no number
            raise ConfigError(
                f"{_shown(url)} is no storage; expected a path, or a URL of sqlite, postgresql, mysql or grpc"
            ) from None
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            if attempt == TRIES:
                raise RunError(f"{_shown(url)} cannot be used: {_reason(error)}") from error
            time.sleep(0.2 * attempt)  # another process may be making the tables
        except RuntimeError as error:
            raise RunError(f"{_shown(url)} cannot be used: {' '.join(str(error).split())}") from error
    raise AssertionError("every try returns or raises")


def _reason(error: Exception) -> str:
    """The first line of what the driver said, which Optuna's own exception only has as its cause."""
    return next(iter(str(error.__cause__ or error).splitlines()), type(error).__name__)[:300]


def _refuse_another_file(url: str) -> None:
    """Look at an SQLite file without writing: Optuna would add its tables to any database.

    Raises:
        ConfigError: the file is no database of studies, or stands in no folder.
        RunError: it cannot be read.
    """
    path = _sqlite_file(url)
    if path is None:
        return
    if not path.parent.is_dir():
        raise ConfigError(f"{url} must stand in a folder, but there is no {path.parent}; make it first")
    if path.is_dir():
        raise ConfigError(f"{url} must name a file, but {path} is a folder; name a file in it")
    tables = _tables(path) if path.exists() else set()
    if tables and not {"studies", "trials", "version_info"} <= tables:
        raise ConfigError(
            f"{path} is a database of something else, with the tables {', '.join(sorted(tables)[:5])}, and is left as "
            "it is; name another file"
        )


def _tables(path: Path) -> set[str]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=2)) as connection:
            return {str(name) for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as error:
        if "not a database" in str(error):
            raise ConfigError(f"{path} is no SQLite database, and is left as it is; name another file") from None
        raise RunError(f"{path} cannot be read: {error}") from error


def _with_driver(url: str) -> str:
    """The URL with the driver that we name in `DRIVERS`, where it names none."""
    scheme, rest = url.split("://", 1)
    return f"{WITH_DRIVER.get(scheme, scheme)}://{rest}"


def _shown(url: str) -> str:
    """The URL without its password."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return re.sub(r":[^/@]*@", ":***@", url)
    return url.replace(f":{password}@", ":***@") if password else url
