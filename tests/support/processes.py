"""Processes of this machine, by Linux's ``/proc``."""

from pathlib import Path


def workers_of(pid: int) -> list[int]:
    """The worker processes that a process has started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    try:
        children = [int(child) for task in tasks for child in task.read_text(encoding="utf-8").split()]
        return [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    except OSError:  # one of them has just ended
        return []


def alive(pid: int) -> bool:
    """True unless the process has ended; one that nobody has waited for yet has."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"
