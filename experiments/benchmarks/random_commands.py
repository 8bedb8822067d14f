"""Is every command line answered: with a message, within ten seconds, with status 0 or 2, and never by a traceback?

Command lines are made from the parser's own commands and options, with good and bad values, and then words are changed,
dropped, repeated and swapped. Those that train do so on a tiny task for two steps. Options that would start other
processes or wait for another machine get bad values only. Addresses of databases and clusters are left out.
"""

import contextlib
import io
import itertools
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from structpred.cli.arguments import Argument, arguments_of
from structpred.cli.commands import COMMANDS
from structpred.cli.main import main as structpred
from structpred.experiments.benchmarks.measuring import (
    Figures,
    Stopwatch,
    children_cpu,
    limited,
    report,
    standalone,
    without_options,
)
from structpred.registry import FAMILIES

COUNT, IN_PROCESSES, SEED = 1500, 24, 0
LIMIT, PATIENCE = 10.0, 60.0
"""Seconds of CPU time that a command may take, and seconds by the clock, as others may have the CPU too."""
MEMORY = 16 * 2**30
"""Bytes of addresses: a model that wants more fails to get them instead of taking the machine along."""

TINY = (
    "task=tsv", "task.train=train.tsv", "task.dev=dev.tsv", "task.test=dev.tsv", "model.hidden=8", "model.embedding=4",
    "trainer.epochs=1", "trainer.max_steps=2",
)  # fmt: skip
FIXED = {
    "train": (*TINY, "--devices=1", "--nodes=1"),
    "compare": (*TINY, "--workers=1", "--seeds=1"),
    "tune": (*TINY, "--workers=1", "--trials=1", "--finalists=0", "optimiser.lr=0.001..0.01"),
}
"""Words in front of the random ones, so that a valid command also ends soon."""
NEVER = {"--cluster", "--storage"}
"""Options whose values could be the addresses of other machines."""
BAD = (
    "", " ", "\n", "\t", "\x1b[31m", "\x00", "\x7f", "\udcff\udcfe", "a" * 50_000, "日本語", "-1", "-", "--", "---",
    "=", "==", "x=", "=x", "a=1", ".", "..", "...", "nan", "inf", "-inf", "1e400", "1e-400", "0", "-0", "٣", "1_0",
    "0x10", "1.5", "1e3", str(2**31), str(2**63 - 1), str(2**63), "9" * 40, "9" * 5000, "[" * 20_000, "{" * 20_000,
    "{}", "[]", "null", "true", '"', "'", "\\", "%s", "{0}", "$HOME", "~", "*", "train.tsv", "nowhere.tsv",
    "nowhere/deep/file", "folder", "bad.tsv", "latin.tsv", "broken.py", "ends.py", "mine.py", "good.py", "my-mine",
    "os", "train.tsv/below", "[1,2", "NaN", "Infinity", "one-of:", "one-of:1,2", "1..2", "2..1", "0..1:log",
    "a..b", "1..2:lin",
)  # fmt: skip
GOOD = {
    "--split": "dev", "--beam": "2", "--n-best": "2", "--device": "cpu", "--threads": "1", "--root": "runs",
    "--report": "reports", "--output": "out", "--objectives": "rml", "--seeds": "1", "--sampler": "random",
    "--pruner": "none", "--study": "mine", "--draw": "3", "--import": "good.py", "--older-than": "1", "--timeout": "5",
    "--points": "2", "--more-seeds": "1", "--lease": "9", "--over": "dropout", "seed": "3", "model": "crf",
    "objective": "rml", "optimiser.lr": "0.01", "model.dropout": "0.1", "trainer.precision": "fp32",
    "trainer.patience": "null", "trainer.clip": "2", "decoding.beam": "2", "start": "null",
}  # fmt: skip
FIELDS = (
    "seed", "start", "model", "task", "objective", "optimiser", "trainer", "decoding", "model.dropout", "optimiser.lr",
    "optimiser.schedule", "trainer.batch_tokens", "trainer.patience", "trainer.precision", "trainer.clip",
    "decoding.beam", "decoding.rule", "objective.payoff", "objective.payoff.temperature.literal",
    "objective.estimator.k", "objective.payoff.temperature.edit_rate", "objective.epsilon", "task.columns", "task.",
    ".", "trainer.epochs.x", "objective.parts", "model.input", "model.layers",
)  # fmt: skip
FILES = {
    "train.tsv": "".join(f"{''.join(word)}\t{' '.join(word).upper()}\n" for word in itertools.product("abc", repeat=3)),
    "dev.tsv": "ab\tA B\nca\tC A\n",
    "in.txt": "ab\nca\n",
    "bad.tsv": "ab\n",
    "broken.py": "def experiments(:\n",
    "ends.py": "raise SystemExit(0)\n",
    "good.py": "",
    "mine.py": """
from dataclasses import dataclass
from structpred.objectives import MaximumLikelihood
from structpred.registry import objectives

@objectives.register("my-mine")
@dataclass(frozen=True, kw_only=True)
class Mine(MaximumLikelihood):
    "Fails once it is trained."
    def losses(self, *given, **more):
        raise LookupError("on purpose")
""",
}


@dataclass
class Lines:
    """Command lines, each from a random state of its own."""

    chance: random.Random
    run: str
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.names = tuple(name for family in FAMILIES for name in family)

    def line(self) -> list[str]:
        """One command line."""
        name = self.chance.choice([*COMMANDS, "predict", "evaluate", "describe"])
        if self.chance.random() < 0.03:
            return self.changed([name, *self.chance.sample(BAD, 2)])
        changing = [*self.positional(name), *self.options(name)]
        for _ in range(self.chance.choice((0, 0, 1, 1, 2, 3))):
            changing = self.changed(changing)
        return [name, *FIXED.get(name, ()), *changing]

    def positional(self, name: str) -> list[str]:
        """What the command takes beside options, good more often than not."""
        pick = self.chance.random() < 0.2
        if name in ("evaluate", "predict"):
            place = self.chance.choice(BAD) if pick else self.run
            return [place, *(["in.txt"] if name == "predict" else self.assignments())]
        if name in ("list", "describe"):
            return [self.chance.choice((*self.names, *BAD, "objective", "Trainer", "RML"))]
        return self.assignments() if name in FIXED else []

    def assignments(self) -> list[str]:
        """Some fields with some values."""
        return [
            f"{name}={self.value(name, (*BAD, *self.names))}"
            for name in self.chance.choices(FIELDS, k=self.chance.choice((0, 1, 1, 2)))
        ]

    def value(self, name: str, bad: Sequence[str]) -> str:
        """A value for an option or a field: in half of all cases one that it takes."""
        return GOOD[name] if name in GOOD and self.chance.random() < 0.5 else self.chance.choice(bad)

    def options(self, name: str) -> list[str]:
        """Some options of the command, each with a value where it takes one."""
        known = {each.flag: each for each in arguments_of(COMMANDS[name]) if each.flag and each.flag not in NEVER}
        chosen = self.chance.sample([*known], min(len(known), self.chance.choice((0, 1, 1, 2, 3))))
        return [word for flag in chosen for word in self.option(flag, known[flag])]

    def option(self, flag: str, option: Argument) -> list[str]:
        """The option and its value."""
        if option.kind is bool:
            return [flag]
        value = self.value(flag, BAD)
        return [f"{flag}={value}"] if self.chance.random() < 0.3 else [flag, value]

    def changed(self, words: Sequence[str]) -> list[str]:
        """The words with one change: dropped, repeated, swapped, replaced, inserted, or a letter of one."""
        made = list(words)
        at = self.chance.randrange(len(made)) if made else 0
        kind = self.chance.randrange(6)
        if not made or kind == 0:
            made.insert(at, self.chance.choice(BAD))
        elif kind == 1:
            del made[at]
        elif kind == 2:
            made.insert(at, made[at])
        elif kind == 3:
            other = self.chance.randrange(len(made))
            made[at], made[other] = made[other], made[at]
        elif kind == 4:
            made[at] = self.chance.choice(BAD)
        else:
            made[at] = self._misspelt(made[at])
        return [word for word in made if not word.startswith("/")]  # such a place may be outside the present folder

    def _misspelt(self, word: str) -> str:
        at = self.chance.randrange(len(word) + 1)
        return word[:at] + self.chance.choice(("", "x", "=", "-", ".", "\x07", "é", "\udc80")) + word[at + 1 :]


@dataclass(frozen=True)
class Answer:
    """What came of one command line."""

    status: int | None
    said: str
    seconds: float
    cpu: float


def answer(words: Sequence[str]) -> Answer:
    """Run a command line in this process."""
    errors = io.BytesIO()
    streams = [io.TextIOWrapper(each) for each in (io.BytesIO(b"ab\n"), io.BytesIO(), errors)]
    replaced: dict[str, Any] = dict(zip(("stdin", "stdout", "stderr"), streams, strict=True))
    watch, status = Stopwatch(), None
    with patch.multiple(sys, path=list(sys.path), **replaced):
        try:
            with watch.running(), limited(PATIENCE, signal.ITIMER_REAL):
                status = structpred(words)
        except BaseException:  # noqa: BLE001 - whatever comes is a fault to be reported
            traceback.print_exc()
    torch.set_num_threads(1)
    streams[2].flush()
    return Answer(status, errors.getvalue().decode("utf-8", "backslashreplace"), watch.wall, watch.cpu)


def answer_of_process(words: Sequence[str]) -> Answer:
    """Run a command line as a shell would."""
    began, cpu = time.monotonic(), children_cpu()
    line: list[str | bytes] = [sys.executable, "-m", "structpred", *map(os.fsencode, words)]
    done = subprocess.run(line, input=b"ab\n", capture_output=True, timeout=2 * PATIENCE, check=False)
    said = done.stderr.decode("utf-8", "backslashreplace")
    return Answer(done.returncode, said, time.monotonic() - began, children_cpu() - cpu)


def fault(given: Answer) -> str:
    """The fault of an answer; empty where it has none."""
    if "Traceback" in given.said or given.status is None:
        return "traceback"
    if given.cpu > LIMIT or given.seconds > PATIENCE:
        return "too slow"
    if given.status not in (0, 2):
        return f"status {given.status}"
    last = given.said.splitlines()[-1:] or [""]
    if given.status == 2 and not last[0].startswith("structpred: "):
        return "no sentence"
    return "" if given.said.replace("\n", "").isprintable() else "control characters"


def prepare(folder: Path) -> str:
    """Files to name and a finished run; returns the run's folder."""
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "latin.tsv").write_bytes(b"a\xe9\tA\n")
    (folder / "folder").mkdir(exist_ok=True)
    assert answer(["train", *TINY, "--root", "kept"]).status == 0
    (run,) = (folder / "kept").iterdir()
    return str(run.relative_to(folder))


def restore(folder: Path) -> None:
    """What a command wrote over or removed."""
    for name in ("runs", "reports"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name, text in FILES.items():
        place = folder / name
        if not place.is_file() or place.read_text(encoding="utf-8") != text:
            place.write_text(text, encoding="utf-8")


def attack(folder: Path) -> Figures:
    """Every command line in turn; faults go to the standard error."""
    lines = Lines(random.Random(SEED), prepare(folder))
    made = [lines.line() for _ in range(COUNT)]
    able = [line for line in made if all("\0" not in word and len(word) < 100_000 for word in line)]
    answers = []
    for line in made:
        answers.append((line, answer(line)))
        restore(folder)
    processes = [(line, answer_of_process(line)) for line in able[:IN_PROCESSES]]
    faults = [(line, given, wrong) for line, given in (*answers, *processes) if (wrong := fault(given))]
    for line, given, wrong in faults:
        print(f"{wrong}: {[word[:80] for word in line]} {given.cpu:.1f} s\n{given.said[-3000:]}", file=sys.stderr)
    slowest, words = max((given.cpu, line) for line, given in answers)
    return {
        "command_lines": len(answers),
        "in_processes_of_their_own": len(processes),
        "status_0": sum(given.status == 0 for _, given in answers),
        "status_2": sum(given.status == 2 for _, given in answers),
        "tracebacks": sum(wrong == "traceback" for _, _, wrong in faults),
        "over_ten_seconds": sum(wrong == "too slow" for _, _, wrong in faults),
        "other_faults": sum(wrong not in ("traceback", "too slow") for _, _, wrong in faults),
        "slowest_cpu_seconds": slowest,
        "longest_seconds_by_the_clock": max(given.seconds for _, given in answers),
        "slowest": " ".join(word[:40] for word in words)[:200],
    }


def main() -> None:
    """Make, run and judge command lines in a folder of their own."""
    without_options()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "some", "where")  # so that .. stays inside the temporary folder
        folder.mkdir(parents=True)
        with contextlib.chdir(folder):
            figures = attack(folder)
    report(figures, __doc__)
    assert figures["tracebacks"] == figures["over_ten_seconds"] == figures["other_faults"] == 0


if __name__ == "__main__":
    standalone(main)
