"""Processes of this machine, by Linux's ``/proc``."""

from pathlib import Path


def workers_of(pid: int) -> list[int]:
    """The worker processes of a driver: what the process that it forks them from has started."""
    return [worker for server in _children(pid) if _is_fork_server(server) for worker in _children(server)]


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    try:
        return [int(child) for task in tasks for child in task.read_text(encoding="utf-8").split()]
    except OSError:  # one of them has just ended
        return []


def _is_fork_server(pid: int) -> bool:
    try:
        return b"multiprocessing.forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def alive(pid: int) -> bool:
    """True unless the process has ended; one that nobody has waited for yet has."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"
