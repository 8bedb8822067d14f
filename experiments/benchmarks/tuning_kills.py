"""Does a study whose workers and drivers are killed again and again end as one that is left alone?"""

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
from structpred.experiments.benchmarks.measuring import Figures, report, standalone, without_options
from structpred.experiments.benchmarks.remains import outlived, workers_of
from structpred.models import Seq2Seq
from structpred.objectives import MaximumLikelihood
from structpred.tasks import Pronunciation
from structpred.training import Adam, Trainer
from structpred.tuning import Suggest, tune
from structpred.tuning.storage import opened
from structpred.tuning.trials import REPLACES, SCORES, SLOT, owners

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
    """The study to be killed: two workers and no pruner."""
    points = TRIALS if sampler == "grid" else None
    tune(space, trials=TRIALS, points=points, sampler=sampler, pruner="none", finalists=0, root=root, workers=2)


def begin(sampler: str, root: Path) -> "subprocess.Popen[bytes]":
    """The study in a process of its own."""
    command = [sys.executable, "-m", "structpred.experiments.benchmarks.tuning_kills", sampler, str(root)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)


def trials(root: Path) -> list[FrozenTrial]:
    """All trials so far, void ones too."""
    journal = root / "tuning.journal"
    if not journal.exists():
        return []
    with opened(str(journal)) as storage:
        names = [study.study_name for study in storage.get_all_studies()]
        return load_study(study_name="tuning", storage=storage).trials if "tuning" in names else []


@dataclass
class Kills:
    """Kills of the study in a folder.

    Attributes:
        workers, commands: how many of each were killed.
        groups: the groups of processes of all commands.
    """

    sampler: str
    root: Path
    moments: random.Random
    workers: int = 0
    commands: int = 0
    groups: list[int] = field(default_factory=list)

    def again(self) -> bool:
        """Resume the study, kill a worker in a trial, then the command; False where it ended before."""
        process = begin(self.sampler, self.root)
        self.groups.append(process.pid)
        if victims := self._in_a_trial(process):
            os.kill(self.moments.choice(victims), signal.SIGKILL)
            self.workers += 1
            if self._in_a_trial(process):
                process.kill()
                self.commands += 1
        return process.wait() != 0

    def _in_a_trial(self, process: "subprocess.Popen[bytes]") -> list[int]:
        """The workers, once a run has been under way for some moments; none once the command has ended."""
        wait = self.moments.uniform(0.0, 1.0)
        while process.poll() is None:
            logs = [path.parent for path in self.root.glob("*/log.jsonl")]
            if not all((run / "result.json").exists() for run in logs) and workers_of(process.pid):
                time.sleep(wait)
                if workers := workers_of(process.pid):
                    return workers
            time.sleep(0.05)
        return []


def outcome(root: Path) -> dict[int, tuple[float, float]]:
    """What each slot was run with and what it scored."""
    return {
        slot: (trial.params["lr"], *trial.user_attrs[SCORES].values())
        for slot, trial in owners(trials(root)).items()
        if trial.state == TrialState.COMPLETE
    }


def files(root: Path) -> set[str]:
    """Everything below a folder, but for the identities of runs."""
    return {"/".join([*("run" for _ in path.relative_to(root).parts[:-1]), path.name]) for path in root.glob("*/*")} | {
        path.name for path in root.iterdir() if not path.is_dir()
    }


def judged(sampler: str, quiet: Path, killed: Path, kills: Kills) -> Figures:
    """What came out of it.

    Raises:
        AssertionError: something was lost, changed or left behind.
    """
    expected, got, every = outcome(quiet), outcome(killed), trials(killed)
    replaced = {trial.user_attrs.get(REPLACES) for trial in every}
    lost = [trial for trial in every if trial.number in replaced and trial.params]
    own = owners(every)
    again = sum(own[trial.user_attrs[SLOT]].params == trial.params for trial in lost)
    left = sorted(files(killed) - files(quiet))
    orphans = outlived(kills.groups)
    points = len({lr for lr, _ in got.values()})
    assert kills.workers, "no worker was found to be killed"
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
    without_options()
    figures: Figures = {"trials": TRIALS}
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
    report(figures, __doc__)


if __name__ == "__main__":
    standalone(main)
