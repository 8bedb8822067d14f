"""Forecast of the time left of many runs: estimated costs, corrected by the observed times."""

import heapq
import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from structpred.training.memory import Memory
from structpred.training.monitoring import Progress

TRUST = 5.0
"""Seconds of observed training that weigh as much as the prior estimates."""
TRUST_OF_KIND = 0.1
"""Observed runs of a kind that weigh as much as the pace of all kinds together."""
LEAST = 0.05
"""Observed runs before the first forecast without prior estimates."""
BEGUN = ("preparing", "training", "testing")
"""Phases in which a run is working rather than waiting for another."""


@dataclass(frozen=True)
class Job:
    """A run still to do.

    Attributes:
        name: the name for `Forecast.update` and `Forecast.end`.
        kind: runs of the same kind take equally long.
        done: the share done by an earlier attempt, 0 to 1.
        after: the name of the job that it starts from, if that is still to do.
    """

    name: str
    kind: str
    done: float = 0.0
    after: str | None = None


@dataclass(frozen=True)
class Cost:
    """Estimated duration of a run of one kind.

    Attributes:
        seconds: the whole run, from when it starts working.
        testing: the share of these seconds after training.
        reading: seconds before, in which its worker reads data.
        memory: what it keeps in memory, if that was measured.
    """

    seconds: float
    testing: float = 0.0
    reading: float = 0.0
    memory: Memory | None = None


NOTHING = Cost(0.0)


def makespan(jobs: Sequence[tuple[Job, float]], workers: int) -> float:
    """Seconds until all jobs are done, if each free worker takes the first job whose start is done.

    Args:
        jobs: each with its remaining seconds, in the order in which they begin.
        workers: the number of workers.
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
    """A run observed at work: its share done rose from ``before`` to ``share`` between ``began`` and ``until``."""

    job: Job
    began: float
    before: float
    share: float
    until: float

    @property
    def part(self) -> float:
        """The observed share of a whole run."""
        return max(self.share - self.before, 0.0)

    @property
    def seconds(self) -> float:
        """The observed seconds."""
        return self.until - self.began


class Forecast:
    """Forecasts the time left of many runs.

    Each kind of run may have a prior estimate p, which observation corrects. Of run i the share s_i was observed and
    took e_i seconds. All estimates are multiplied by

        c = (T + Σ e_i) / (T + Σ s_i p_i)        with T = `TRUST`,

    and a whole run of kind k then takes (κ c p_k + Σ_k e_i) / (κ + Σ_k s_i) seconds with κ = `TRUST_OF_KIND`: a kind
    that was not observed yet follows the others, an observed one its own pace. The forecast is the makespan of the
    remaining work on the workers. Time before a run works (its worker imports, reads data, or waits) does not count.

    A kind without an estimate gets the mean of the others. Without any estimate all runs count the same, and there is
    no forecast before `LEAST` of a run was observed.

    Args:
        jobs: the work, in the order in which it begins.
        workers: how many runs train at once; None for the largest number observed.
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
        """A forecast for ``count`` similar runs whose names are unknown."""
        return cls([Job(f"\0{number}", "") for number in range(count)])

    def update(self, under_way: Mapping[str, Progress]) -> None:
        """Observe the progress of the runs under way."""
        now = time.monotonic()
        for name, progress in under_way.items():
            if progress.phase in BEGUN:
                run = self._under_way.get(name) or self._begin(name, progress, now)
                run.share, run.until = max(run.share, self._share(run.job, progress)), now
        self._most = max(self._most, len(self._under_way))

    def end(self, name: str, seconds: float | None = None) -> None:
        """Note that a run has ended.

        Args:
            name: its name.
            seconds: its whole duration; None if it failed or the duration is unknown.
        """
        now = time.monotonic()
        run = self._under_way.pop(name, None)
        if run is None:
            job = self._taken(name)
            if seconds is not None:  # too quick to be observed
                self._ended.append(_Watched(job, began=now - seconds, before=0.0, share=1.0, until=now))
            return
        if seconds is not None:
            run.share, run.until = 1.0, now
        self._ended.append(run)

    def left(self) -> float | None:
        """Seconds until everything is done; None without a basis for a forecast."""
        whole = self._whole()
        if whole is None:
            return None
        rest = [(run.job, (1 - run.share) * whole[run.job.kind]) for run in self._under_way.values()]
        for job in self._waiting.values():
            rest.append((job, (1 - job.done) * whole[job.kind] + self.costs.get(job.kind, NOTHING).reading))
        return makespan(rest, self._workers or self._most)

    def _begin(self, name: str, progress: Progress, now: float) -> _Watched:
        """Progress at first sight was not observed; but a run that is already testing was quick, not resumed."""
        job = self._taken(name)
        share = self._share(job, progress) if progress.phase == "training" else 0.0
        self._under_way[name] = _Watched(job, began=now, before=share, share=share, until=now)
        return self._under_way[name]

    def _taken(self, name: str) -> Job:
        """Take the job of this name off the waiting ones; if names are unknown, any one."""
        known = name if name in self._waiting else next((each for each in self._waiting if each[0] == "\0"), None)
        return Job(name, "") if known is None else self._waiting.pop(known)

    def _share(self, job: Job, progress: Progress) -> float:
        """The share of a run that is done, including testing."""
        return progress.done * (1 - self.costs.get(job.kind, NOTHING).testing)

    def _whole(self) -> dict[str, float] | None:
        """Corrected seconds of a whole run of each kind; None if too little was observed."""
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
