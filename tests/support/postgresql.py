"""A private PostgreSQL server for the time of a test; it listens to a socket in its own folder only."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

UNPRIVILEGED = ("postgres", "nobody")


@contextmanager
def server() -> Iterator[str]:
    """The URL of an empty database; the test is skipped, with the reason, where there can be none."""
    programs = {name: _program(name) for name in ("initdb", "postgres")}
    missing = [name for name, path in programs.items() if path is None]
    if missing:
        pytest.skip(f"PostgreSQL is not installed: no {' and no '.join(missing)} (apt-get install postgresql)")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("the driver is not installed: pip install structpred[postgresql]")
    user = _user()
    folder = Path(tempfile.mkdtemp(prefix="structpred-pg-", dir="/tmp"))  # a socket's path must be short
    try:
        if user is not None:
            shutil.chown(folder, user)
        data = folder / "data"
        make = [str(programs["initdb"]), "-D", str(data), "-U", "tuner", "-A", "trust", "-N"]
        made = subprocess.run(make, user=user, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
        if made.returncode:
            pytest.skip(f"initdb does not work here: {made.stderr.strip()[-200:]}")
        with _running(str(programs["postgres"]), data, folder, user):
            yield f"postgresql://tuner@/postgres?host={folder}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(program: str, data: Path, folder: Path, user: str | None) -> Iterator[None]:
    settings = ["listen_addresses=", "fsync=off", f"unix_socket_directories={folder}"]
    command = [program, "-D", str(data), *(word for setting in settings for word in ("-c", setting))]
    with (folder / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(command, user=user, cwd=folder, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 60
        while "ready to accept connections" not in (folder / "log").read_text(encoding="utf-8"):
            if process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"the server did not start: {(folder / 'log').read_text(encoding='utf-8')[-500:]}")
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.SIGINT)  # ends at once, whoever is connected
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _program(name: str) -> Path | None:
    """Debian keeps them off the path."""
    found = [*sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)]
    on_path = shutil.which(name)
    return next(iter(found), None) or (None if on_path is None else Path(on_path))


def _user() -> str | None:
    """Whose the server is; PostgreSQL refuses to be root's."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    found = next((name for name in UNPRIVILEGED if name in known), None)
    if found is None:
        pytest.skip("PostgreSQL refuses to run as root, and there is no other user")
    return found
