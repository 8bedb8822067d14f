"""Python commands in processes that are forked from one which has imported everything; a new interpreter takes seconds.

Such a process has modules that the command itself did not import. Where this matters, start an interpreter.
"""

import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
from multiprocessing.context import ForkServerContext
from pathlib import Path
from subprocess import CompletedProcess

PRELOADED = [
    "lightning_fabric",
    "structpred.cli.runs",
    "structpred.tuning",
    "structpred.objectives",
    "structpred.tasks",
]


def forks(*modules: str) -> ForkServerContext:
    """Start processes by forks of one that has imported what takes seconds, and these modules.

    The modules count where this starts that one process; later they are imported by each fork.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, *modules])
    return context


def python(words: list[str], folder: Path, *, patience: float = 300) -> "CompletedProcess[str]":
    """Run ``python WORDS`` in a folder, like `subprocess.run` with captured output.

    Args:
        words: ``["-m", module, ...]``, ``["-c", code]`` or ``[script, ...]``.
        folder: the working folder, from which modules can be imported.
        patience: seconds that it may take.
    """
    context = forks(__name__)
    with tempfile.TemporaryDirectory() as said:
        output, errors = Path(said) / "output", Path(said) / "errors"
        process = context.Process(target=_run, args=(words, folder, output, errors))
        process.start()
        process.join(patience)
        if process.exitcode is None:
            process.kill()
            process.join()
        assert process.exitcode is not None
        texts = [path.read_text(encoding="utf-8") if path.exists() else "" for path in (output, errors)]
    return CompletedProcess(words, process.exitcode, *texts)


def hear_ctrl_c() -> None:
    """Undo in a forked process what it may have inherited: our engine blocks SIGINT while it starts its first worker.

    The process that all are forked from has that mask, too, if this is what it was started for.
    """
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _run(words: list[str], folder: Path, output: Path, errors: Path) -> None:
    hear_ctrl_c()
    for path, stream in ((output, sys.stdout), (errors, sys.stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream.fileno())
    os.chdir(folder)
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.path.insert(0, str(folder))
    kind, *rest = words
    if kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv = [kind, *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = words
        runpy.run_path(kind, run_name="__main__")
