"""Which benchmarks can be run here, and what do they measure? All are run, or those that are named."""

import ast
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from structpred.experiments.benchmarks.measuring import REFUSED, SKIPPED

FOLDER = Path(__file__).parent


def benchmarks() -> list[str]:
    """The modules here that have a function ``main``; the others are what these share."""
    return [path.stem for path in sorted(FOLDER.glob("[!_]*.py")) if _has_main(path)]


def run_all(names: Sequence[str], start: Callable[[str], int]) -> int:
    """Run benchmarks one after another, whatever becomes of those before, and print a line that counts them.

    Args:
        names: which.
        start: runs one and returns its exit status.

    Returns:
        The exit status: 0 unless one failed.
    """
    ended: dict[str, list[str]] = {"measured": [], "skipped": [], "failed": []}
    for name in names:
        print(f"{name}:", flush=True)
        status = start(name)
        ended["measured" if status == 0 else "skipped" if status == SKIPPED else "failed"].append(name)
    parts = [f"{len(each)} {how} ({', '.join(each)})" for how, each in ended.items() if each]
    print(f"Benchmarks: {'; '.join(parts)}")
    return 1 if ended["failed"] else 0


def main(arguments: Sequence[str]) -> int:
    """Run the benchmarks that are named, or all, each in a process of its own."""
    known = benchmarks()
    if unknown := [name for name in arguments if name not in known]:
        print(f"structpred: no benchmark is named {unknown[0]!r}; there are {', '.join(known)}", file=sys.stderr)
        return REFUSED
    return run_all(arguments or known, _start)


def _has_main(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)


def _start(name: str) -> int:
    return subprocess.run([sys.executable, "-m", f"structpred.experiments.benchmarks.{name}"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
