"""Many runs on an executor: threads, processes, a dask cluster or SLURM; `compare` and `tune` drive it."""

from structpred.engine.clusters import cluster, slurm
from structpred.engine.driver import Engine, Handle, check_machinery, open_engine
from structpred.engine.executors import WorkerDied

__all__ = ["Engine", "Handle", "WorkerDied", "check_machinery", "cluster", "open_engine", "slurm"]
