"""Does a study whose workers and commands are killed again and again end as one that is left alone?"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from optuna import load_study
from optuna.trial import FrozenTrial, TrialState

from structpred.experiment import Experiment
from structpred.experiments.benchmarks.standalone import standalone
from structpred.experiments.benchmarks.timing import report
from structpred.models import Seq2Seq
from structpred.objectives import MaximumLikelihood
from structpred.tasks import Pronunciation
from structpred.training import Adam, Trainer
from structpred.tuning import Suggest, tune
from structpred.tuning.lease import LEASE, born
from structpred.tuning.slots import LOST, SCORES, SLOT, VOID, owners
from structpred.tuning.storage import opened

KILLS, TRIALS = 7, 8
"""Kills of each study, 21 in all, and trials of each."""
SAMPLERS = ("random", "grid", "tpe")
EXPERIMENT = Experiment(
    task=Pronunciation(size=100, held_out=20),
    model=Seq2Seq(embedding=8, hidden=16, dropout=0.1),
    objective=MaximumLikelihood(),
    trainer=Trainer(epochs=12, batch_tokens=256),
)


def space(trial: Suggest) -> Experiment:
    """The learning rate."""
    return replace(EXPERIMENT, optimiser=Adam(lr=trial.suggest_float("lr", 1e-3, 3e-2, log=True)))


def search(sampler: str, root: Path) -> None:
    """What is killed: a study with two workers, without a pruner."""
    tune(space, trials=TRIALS, points=TRIALS, sampler=sampler, pruner="none", finalists=0, root=root, workers=2)


def begin(sampler: str, root: Path) -> "subprocess.Popen[bytes]":
    """The study in a process of its own."""
    command = [sys.executable, "-m", "structpred.experiments.benchmarks.tuning_kills", sampler, str(root)]
    return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)


def trials(root: Path) -> list[FrozenTrial]:
    """All trials so far, void ones too."""
    journal = root / "tuning.journal"
    if not journal.exists():
        return []
    with opened(str(journal)) as storage:
        names = [study.study_name for study in storage.get_all_studies()]
        return load_study(study_name="tuning", storage=storage).trials if "tuning" in names else []


def at_work(root: Path) -> dict[int, str]:
    """The workers that hold a trial: their process numbers, and when each began."""
    leases = [
        each.user_attrs[LEASE] for each in trials(root) if LEASE in each.user_attrs and not each.state.is_finished()
    ]
    return {lease["pid"]: lease["born"] for lease in leases if born(lease["pid"]) == lease["born"]}


@dataclass
class Kills:
    """What is done to the study in a folder.

    Attributes:
        workers, commands: how many of each were killed.
        seen: every worker that was seen at work, and when it began.
    """

    sampler: str
    root: Path
    moments: random.Random
    workers: int = 0
    commands: int = 0
    seen: dict[int, str] = field(default_factory=dict)

    def again(self) -> bool:
        """Let the study go on, kill a worker in a trial, then the command; False where it ended before."""
        process = begin(self.sampler, self.root)
        victim = self._in_a_trial(process)
        if victim is not None:
            os.kill(victim, signal.SIGKILL)
            self.workers += 1
            if self._in_a_trial(process) is not None:
                process.kill()
                self.commands += 1
        return process.wait() != 0

    def _in_a_trial(self, process: "subprocess.Popen[bytes]") -> int | None:
        """A worker that has been at a trial for some moments; None once the command has ended."""
        wait = self.moments.uniform(0.0, 1.0)
        while process.poll() is None:
            if busy := at_work(self.root):
                self.seen |= busy
                time.sleep(wait)
                if still := [pid for pid, begun in busy.items() if born(pid) == begun]:
                    return self.moments.choice(still)
            time.sleep(0.05)
        return None


def outcome(root: Path) -> dict[int, tuple[float, float]]:
    """What each slot was run with and what it scored."""
    found = trials(root)
    own = {slot: found[number] for slot, number in owners(found).items()}
    return {
        slot: (trial.params["lr"], *trial.user_attrs[SCORES].values())
        for slot, trial in sorted(own.items())
        if trial.state == TrialState.COMPLETE
    }


def files(root: Path) -> set[str]:
    """Everything below a folder, but for the identities of runs."""
    return {"/".join([*("run" for _ in path.relative_to(root).parts[:-1]), path.name]) for path in root.glob("*/*")} | {
        path.name for path in root.iterdir() if not path.is_dir()
    }


def judged(sampler: str, quiet: Path, killed: Path, kills: Kills) -> dict[str, float | int | str]:
    """What came out of it.

    Raises:
        AssertionError: something was lost, changed or left behind.
    """
    expected, got, every = outcome(quiet), outcome(killed), trials(killed)
    lost = [trial for trial in every if trial.user_attrs.get(VOID) == LOST and trial.params]
    own = owners(every)
    again = sum(every[own[trial.user_attrs[SLOT]]].params == trial.params for trial in lost)
    left = sorted(files(killed) - files(quiet))
    time.sleep(2.0)  # workers look twice a second whether who started them is still there
    orphans = [pid for pid, begun in kills.seen.items() if born(pid) == begun]
    points = len({lr for lr, _ in got.values()})
    assert len(got) == points == TRIALS, (sampler, Counter(each.state.name for each in every))
    assert again == len(lost), sampler
    assert not left, left
    assert not orphans, orphans
    if sampler != "tpe":  # which proposes by what has finished, and so by how trials happen to overlap
        assert min(got.items(), key=lambda item: item[1][1]) == min(expected.items(), key=lambda item: item[1][1])
        assert got == expected
    return {
        f"{sampler}_workers_killed": kills.workers,
        f"{sampler}_commands_killed": kills.commands,
        f"{sampler}_distinct_points": points,
        f"{sampler}_trials_put_back": len(lost),
        f"{sampler}_put_back_with_their_parameters": again,
        **(
            {} if sampler == "tpe" else {f"{sampler}_same_as_undisturbed": sum(got[i] == expected[i] for i in expected)}
        ),
        f"{sampler}_left_behind": len(left) + len(orphans),
    }


def main() -> None:
    """For each sampler one study undisturbed, one under fire."""
    if len(sys.argv) == 3:
        search(sys.argv[1], Path(sys.argv[2]))
        return
    figures: dict[str, float | int | str] = {"trials": TRIALS}
    with tempfile.TemporaryDirectory() as place:
        for sampler in SAMPLERS:
            quiet, disturbed = Path(place, f"{sampler}-quiet"), Path(place, f"{sampler}-killed")
            began = time.monotonic()
            if sampler == "tpe":  # its trials may differ, and files are the same for all
                quiet = Path(place, f"{SAMPLERS[0]}-quiet")
            else:
                assert begin(sampler, quiet).wait() == 0
            kills = Kills(sampler, disturbed, random.Random(SAMPLERS.index(sampler)))
            while kills.workers + kills.commands < KILLS and kills.again():
                pass
            assert begin(sampler, disturbed).wait() == 0
            figures |= judged(sampler, quiet, disturbed, kills)
            figures[f"{sampler}_seconds"] = time.monotonic() - began
    report(figures, "Kills of tuning")


if __name__ == "__main__":
    standalone(main)
