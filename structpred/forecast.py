"""How long the rest of many runs will take: what each should cost, corrected by what the clock has shown."""

import heapq
import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from structpred.training.monitoring import Progress

TRUST = 5.0
"""Seconds of watched training after which the clock counts as much as the estimates made before it."""
TRUST_OF_KIND = 0.1
"""Watched runs of a kind after which their own clock counts as much as that of all kinds together."""
LEAST = 0.05
"""Watched runs before anything is said where nothing was estimated before."""
BEGUN = ("preparing", "training", "testing")
"""Phases in which a run is at work itself and does not wait for another."""


@dataclass(frozen=True)
class Job:
    """A run still to be done.

    Attributes:
        name: the run's, by which `Forecast.update` and `Forecast.end` know it.
        kind: runs of one kind take equally long.
        done: the share that an earlier attempt has done, 0 to 1.
        after: the name of the job that it starts from, if that is still to be done.
    """

    name: str
    kind: str
    done: float = 0.0
    after: str | None = None


@dataclass(frozen=True)
class Cost:
    """What a run of a kind should take.

    Attributes:
        seconds: the whole run, from the moment it is seen at work.
        testing: the share of them that comes after training.
        reading: seconds before, in which its worker reads data.
    """

    seconds: float
    testing: float = 0.0
    reading: float = 0.0


NOTHING = Cost(0.0)


def makespan(jobs: Sequence[tuple[Job, float]], workers: int) -> float:
    """Seconds until all jobs are done, where a free worker takes the first job that need not wait for another.

    Args:
        jobs: each with the seconds that it still takes, in the order in which they are begun.
        workers: how many are at work at once.
    """
    ends = {job.name: math.inf for job, _ in jobs}
    waiting, running, now = list(jobs), list[float](), 0.0
    while waiting:
        ready = (i for i, (job, _) in enumerate(waiting) if job.after is None or ends.get(job.after, 0.0) <= now)
        first = next(ready, None) if len(running) < workers else None
        if first is not None:
            job, seconds = waiting.pop(first)
            ends[job.name] = now + seconds
            heapq.heappush(running, now + seconds)
        elif running:
            now = heapq.heappop(running)
        else:
            raise ValueError(f"expected jobs that can be begun, but {waiting[0][0].name} waits for itself")
    return max(running, default=now)


@dataclass
class _Watched:
    """A run that was seen at work: the share of it done from ``before`` to ``share``, since ``began``."""

    job: Job
    began: float
    before: float
    share: float
    until: float

    @property
    def part(self) -> float:
        """The share of a whole run that was watched."""
        return max(self.share - self.before, 0.0)

    @property
    def seconds(self) -> float:
        """How long that took."""
        return self.until - self.began


class Forecast:
    """Time left of many runs.

    Every kind of run may have an estimate p, made before; the clock corrects it. Of run i the share s_i was watched and
    took e_i seconds. All estimates are multiplied by

        c = (T + Σ e_i) / (T + Σ s_i p_i)        with T = `TRUST`,

    and a whole run of kind k then takes (κ c p_k + Σ_k e_i) / (κ + Σ_k s_i) seconds with κ = `TRUST_OF_KIND`: a kind
    that was not seen yet follows the others, one that was seen follows itself. What is left is the makespan of the
    rest on the workers. Time before a run is at work (its worker imports, reads data, or waits) is no time of the run.

    A kind without an estimate counts as the mean of the others. Where there is none at all, runs count alike and
    nothing is said before `LEAST` of a run was watched.

    Args:
        jobs: what is to be done, in the order in which it is begun.
        workers: how many run at once; None for the most that were seen at once.
        costs: estimates by kind.
    """

    def __init__(
        self, jobs: Sequence[Job], workers: int | None = None, costs: Mapping[str, Cost] | None = None
    ) -> None:
        self.costs = dict(costs or {})
        self._waiting = {job.name: job for job in jobs}
        self._workers, self._most = workers, 1
        self._under_way: dict[str, _Watched] = {}
        self._ended: list[_Watched] = []

    @classmethod
    def alike(cls, count: int) -> "Forecast":
        """Of so many runs of which not even the names are known."""
        return cls([Job(f"\0{number}", "") for number in range(count)])

    def update(self, under_way: Mapping[str, Progress]) -> None:
        """Take in where the runs under way stand."""
        now = time.monotonic()
        for name, progress in under_way.items():
            if progress.phase in BEGUN:
                run = self._under_way.get(name) or self._begin(name, progress, now)
                run.share, run.until = max(run.share, self._share(run.job, progress)), now
        self._most = max(self._most, len(self._under_way))

    def end(self, name: str, seconds: float | None = None) -> None:
        """A run has ended.

        Args:
            name: the run's.
            seconds: what all of it took; None where it failed, or nothing is known.
        """
        now = time.monotonic()
        run = self._under_way.pop(name, None)
        if run is None:
            job = self._taken(name)
            if seconds is not None:  # too quick to be seen
                self._ended.append(_Watched(job, began=now - seconds, before=0.0, share=1.0, until=now))
            return
        if seconds is not None:
            run.share, run.until = 1.0, now
        self._ended.append(run)

    def left(self) -> float | None:
        """Seconds until everything is done; None as long as there is nothing to go by."""
        whole = self._whole()
        if whole is None:
            return None
        rest = [(run.job, (1 - run.share) * whole[run.job.kind]) for run in self._under_way.values()]
        for job in self._waiting.values():
            rest.append((job, (1 - job.done) * whole[job.kind] + self.costs.get(job.kind, NOTHING).reading))
        return makespan(rest, self._workers or self._most)

    def _begin(self, name: str, progress: Progress, now: float) -> _Watched:
        """What is there at first sight was not watched; a run that is testing already was quick, not resumed."""
        job = self._taken(name)
        share = self._share(job, progress) if progress.phase == "training" else 0.0
        self._under_way[name] = _Watched(job, began=now, before=share, share=share, until=now)
        return self._under_way[name]

    def _taken(self, name: str) -> Job:
        """The job of that name, no longer waiting; where names are not known, any stands for it."""
        known = name if name in self._waiting else next((each for each in self._waiting if each[0] == "\0"), None)
        return Job(name, "") if known is None else self._waiting.pop(known)

    def _share(self, job: Job, progress: Progress) -> float:
        """The share of a run that is done, testing included."""
        return progress.done * (1 - self.costs.get(job.kind, NOTHING).testing)

    def _whole(self) -> dict[str, float] | None:
        """Seconds of a whole run of each kind, corrected by those that were seen; None where there were too few."""
        parts, seconds = defaultdict[str, float](float), defaultdict[str, float](float)
        for run in (*self._ended, *self._under_way.values()):
            parts[run.job.kind] += run.part
            seconds[run.job.kind] += run.seconds
        if not self.costs and sum(parts.values()) < LEAST:
            return None
        mean = sum(cost.seconds for cost in self.costs.values()) / len(self.costs) if self.costs else 1.0
        kinds = {*parts, *(job.kind for job in self._waiting.values())}
        estimates = {kind: self.costs[kind].seconds if kind in self.costs else mean for kind in kinds}
        trust = TRUST if self.costs else 0.0
        expected = sum(parts[kind] * estimates[kind] for kind in kinds)
        pace = (trust + sum(seconds.values())) / (trust + expected)
        return {
            kind: (TRUST_OF_KIND * pace * estimates[kind] + seconds[kind]) / (TRUST_OF_KIND + parts[kind])
            for kind in kinds
        }
