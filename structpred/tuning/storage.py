"""Where studies are kept: a journal file, a database by its URL, or a gRPC proxy before one."""

import json
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, GrpcStorageProxy, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from structpred.errors import ConfigError, RunError

DRIVERS = {"postgresql": "structpred[postgresql]", "mysql": "pymysql", "grpc": "structpred[grpc]"}
"""What to install for which kind of URL."""
WITH_DRIVER = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}
TRIES = 5


def default_storage(root: Path) -> str:
    """The journal file beside the runs."""
    return str(root / "tuning.journal")


@contextmanager
def opened(place: str) -> Iterator[BaseStorage]:
    """A storage for the time of a block; see `open_storage`."""
    storage = open_storage(place)
    try:
        yield storage
    finally:
        if isinstance(storage, RDBStorage):
            storage.remove_session()
            storage.engine.dispose()
        elif isinstance(storage, GrpcStorageProxy):
            storage.close()


def open_storage(place: str) -> BaseStorage:
    """A storage that several processes may open at once, but for SQLite.

    Args:
        place: the path of a journal file; or ``sqlite:///FILE``, ``postgresql://…``, ``mysql+pymysql://…`` as
            SQLAlchemy writes them; or ``grpc://HOST:PORT`` of `optuna.storages.run_grpc_proxy_server`.

    Raises:
        ConfigError: no such kind of storage, or its driver is not installed.
        RunError: it cannot be reached, or is no storage.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    scheme = place.partition("://")[0].partition("+")[0] if "://" in place else ""
    try:
        if not scheme:
            return _journal(Path(place))
        if scheme == "grpc":
            return _proxy(place)
        return _database(_with_driver(place))
    except ImportError as error:
        needed = DRIVERS.get(scheme, "a driver for it")
        raise ConfigError(f"{_shown(place)} needs a package that is not installed: pip install {needed}") from error


def shared(place: str) -> bool:
    """True where several processes may use it: SQLite locks whole files and gives up under load."""
    return not place.startswith("sqlite")


def _journal(path: Path) -> BaseStorage:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise ConfigError(f"{path} must be a journal file, but it is a folder; name a file in it")
    lock = JournalFileSymlinkLock(str(path))
    try:
        if path.exists():
            _cut_half_a_line(path, lock)
        return optuna.storages.JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    except (ValueError, KeyError, AssertionError) as error:
        raise RunError(f"{path} is no journal of a study, or a damaged one: {error}; name another file") from error


def _cut_half_a_line(path: Path, lock: JournalFileSymlinkLock) -> None:
    """Forget what a machine that went down had half written; everybody who reads the file would stumble over it."""
    content = path.read_bytes()
    if not content:
        return
    if content.endswith(b"\n"):
        json.loads(content.splitlines()[-1])  # fails here, and not after something was added to what is no journal
        return
    lock.acquire()  # whoever is writing has finished by now
    try:
        with path.open("rb+") as stream:
            content = stream.read()
            stream.truncate(content.rfind(b"\n") + 1)
    finally:
        lock.release()


def _proxy(place: str) -> BaseStorage:
    parts = urlsplit(place)
    if not parts.hostname or parts.port is None:
        raise ConfigError(f"expected grpc://HOST:PORT, but got {place}")
    with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
        proxy = GrpcStorageProxy(host=parts.hostname, port=parts.port)
    try:
        proxy.wait_server_ready(timeout=20)
    except ConnectionError as error:
        raise RunError(f"{place}: no gRPC proxy of Optuna answers there; start run_grpc_proxy_server first") from error
    return proxy


def _database(url: str) -> BaseStorage:
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    for attempt in range(1, TRIES + 1):
        try:
            return RDBStorage(url)
        except (ArgumentError, NoSuchModuleError):
            raise ConfigError(
                f"{_shown(url)} is no storage; expected a path, or a URL of sqlite, postgresql, mysql or grpc"
            ) from None
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            if attempt == TRIES:
                reason = str(error.__cause__ or error).splitlines()[0]
                raise RunError(f"{_shown(url)} cannot be used: {reason}") from error
            time.sleep(0.2 * attempt)  # another process may be making the tables
        except RuntimeError as error:
            raise RunError(f"{_shown(url)} cannot be used: {' '.join(str(error).split())}") from error
    raise AssertionError("every try returns or raises")


def _with_driver(url: str) -> str:
    """The URL with the driver that we name in `DRIVERS`, where it names none."""
    scheme, rest = url.split("://", 1)
    return f"{WITH_DRIVER.get(scheme, scheme)}://{rest}"


def _shown(url: str) -> str:
    """The URL without its password."""
    password = urlsplit(url).password
    return url.replace(f":{password}@", ":***@") if password else url
