"""Executors on several machines: a dask cluster, or SLURM through submitit."""

import pickle
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch

from structpred.engine.executors import WorkerLost, answer
from structpred.errors import ConfigError, RunError

P = ParamSpec("P")
T = TypeVar("T")
PATIENCE = 20
"""Seconds to wait for an answer from a scheduler."""
POLL = 2.0
"""Seconds between checks of SLURM jobs."""
HOURS = 4
"""Default time limit of a SLURM job; a longer run resumes in another job."""
SLURM = "slurm"


class NoWorkers(UserWarning):
    """The cluster has no workers."""


@contextmanager
def cluster(address: str, files: Sequence[str] = ()) -> Iterator[Executor]:
    """Within the block, the executor of a dask cluster or of SLURM.

    The workers of a dask cluster (``dask worker ADDRESS --nthreads 1``) need the same packages and must see the run
    folders at the same path. If a worker dies, the scheduler gives its run to another one, which resumes it from the
    last checkpoint.

    Args:
        address: the scheduler's address, such as ``"tcp://10.0.0.1:8786"``; or ``"slurm"``, see `slurm`.
        files: Python files with components, which are copied to dask workers and imported there. Files in a package are
            not copied: the workers need that package.

    Raises:
        ConfigError: dask.distributed, or submitit, is not installed.
        RunError: no scheduler answers at the address.
    """
    with slurm() if address == SLURM else _dask(address, files) as executor:
        yield executor


@contextmanager
def _dask(address: str, files: Sequence[str]) -> Iterator[Executor]:
    try:
        from distributed import Client
        from distributed.comm.addressing import resolve_address
    except ImportError as error:
        raise ConfigError(
            "running on a dask cluster needs a package that is not installed: pip install structpred[cluster]"
        ) from error
    try:
        resolve_address(address)  # a client fails late, and again when it closes
        client = Client(address, timeout=PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise RunError(
            f"{address}: no scheduler of a dask cluster answers there; start one by `dask scheduler`"
        ) from error
    with client:
        if not client.scheduler_info()["workers"]:
            warnings.warn(
                f"{address}: the cluster has no workers yet, runs wait for them; start some by "
                f"`dask worker {address} --nthreads 1`",
                NoWorkers,
                stacklevel=4,
            )
        for file in files:
            if file.endswith(".py") and not Path(file).with_name("__init__.py").exists():
                client.upload_file(file)
        # pure=False, or dask would reuse the result of an earlier call with equal arguments
        yield client.get_executor(pure=False)  # type: ignore[no-untyped-call]


@contextmanager
def slurm(folder: str | Path = "slurm", *, cluster: str = SLURM, **parameters: Any) -> Iterator[Executor]:
    """Within the block, an executor that submits each run as a SLURM job.

    If SLURM ends a job, because of its time limit or a failed node, the run is submitted again and resumes from the
    last checkpoint.

    Args:
        folder: where submitit keeps requests, results and logs of jobs; jobs must see it at the same path, like the run
            folders.
        cluster: ``"slurm"``; or ``"local"`` for processes on this machine, to try a script.
        parameters: parameters of `submitit.AutoExecutor.update_parameters`, such as ``timeout_min=60``,
            ``slurm_partition="gpu"`` or ``gpus_per_node=1``. SLURM's own variables, such as ``SBATCH_PARTITION``, work
            as well.

    Raises:
        ConfigError: submitit is not installed, or a parameter does not exist.
        RunError: SLURM is not available here.
    """
    try:
        from submitit import AutoExecutor
    except ImportError as error:
        raise ConfigError(
            "running on SLURM needs a package that is not installed: pip install structpred[slurm]"
        ) from error
    try:
        jobs = AutoExecutor(folder=Path(folder).resolve() / "%j", cluster=cluster)
    except (RuntimeError, ValueError) as error:
        raise RunError(f"SLURM cannot be used here ({error}); run this where `srun` works") from error
    try:
        jobs.update_parameters(**{"name": "structpred", "cpus_per_task": 1, "timeout_min": HOURS * 60} | parameters)
    except (NameError, TypeError, ValueError) as error:
        raise ConfigError(f"parameters of SLURM jobs are those of submitit, but {error}") from error
    with JobExecutor(jobs) as executor:
        yield executor


class JobExecutor(Executor):
    """Adapts an executor of submitit to `concurrent.futures`.

    Args:
        jobs: the executor of submitit.
    """

    def __init__(self, jobs: Any) -> None:
        self._jobs, self._closing = jobs, threading.Event()
        self._waiting: dict[JobFuture[Any], Any] = {}
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Submit a job; function, arguments and result are pickled."""
        future = JobFuture[T]()
        with self._lock:
            future.job = self._jobs.submit(_call, sys.path, pickle.dumps((fn, args, kwargs)))
            self._waiting[future] = future.job
            if self._thread is None:
                self._thread = threading.Thread(target=self._poll, daemon=True)
                self._thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more jobs, and wait for the submitted ones."""
        if cancel_futures:
            for future in list(self._waiting):
                future.cancel()
        self._closing.set()
        if wait and self._thread is not None:
            self._thread.join()

    def _poll(self) -> None:
        while self._waiting or not self._closing.is_set():
            for future, job in list(self._waiting.items()):
                if future.cancelled() or job.done():
                    del self._waiting[future]
                    _settle(future, job)
            time.sleep(POLL)


class JobFuture(Future[T]):
    """The future of a job; cancelling it cancels the job."""

    job: Any = None

    def cancel(self) -> bool:
        """Cancel the job if it is queued; a running job ends when its permit is withdrawn."""
        if self.job.state in ("PENDING", "REQUEUED"):
            self.job.cancel(check=False)
            return super().cancel()
        return False


def _settle(future: "Future[Any]", job: Any) -> None:
    """Pass the result of a job to its future."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    if future.cancelled() or not future.set_running_or_notify_cancel():
        return
    where = f"its log is {job.paths.stderr}"
    try:
        succeeded, value = pickle.loads(job.result())
    except FailedJobError:
        future.set_exception(RunError(f"SLURM job {job.job_id} could not begin; {where}"))
    except UncompletedJobError:
        future.set_exception(WorkerLost(f"SLURM job {job.job_id} ended early; {where}"))
    except Exception as error:  # noqa: BLE001 - the future must end in any case
        future.set_exception(error)
    else:
        future.set_result(value) if succeeded else future.set_exception(value)


def _call(path: Sequence[str], call: bytes) -> bytes:
    """The work of a job: call a function, with the import path of its submitter."""
    sys.path.extend(each for each in path if each not in sys.path)
    torch.set_num_threads(1)
    return answer(call)
