"""Several machines for a comparison, by dask.distributed."""

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path

from structpred.errors import ConfigError, RunError

PATIENCE = 20
"""Seconds in which a scheduler has to answer."""


class NoWorkers(UserWarning):
    """The cluster has nobody who works."""


@contextmanager
def cluster(address: str, files: Sequence[str] = ()) -> Iterator[Executor]:
    """The executor of a dask cluster, for the time of a block.

    Its workers (``dask worker ADDRESS --nthreads 1``) need the same packages and must see the run folders at the same
    path. When one dies, the scheduler gives its run to another, which goes on from the last checkpoint.

    Args:
        address: of the scheduler, such as ``"tcp://10.0.0.1:8786"``.
        files: Python files of components, which are copied to the workers and imported there; those that are part of a
            package are left out, so the workers need that package.

    Raises:
        ConfigError: dask.distributed is not installed.
        RunError: no scheduler answers at the address.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError(
            "a comparison on a cluster needs a package that is not installed: pip install structpred[cluster]"
        ) from error
    try:
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
                stacklevel=3,
            )
        for file in files:
            if file.endswith(".py") and not Path(file).with_name("__init__.py").exists():
                client.upload_file(file)
        # pure=False, or a call would be taken for an earlier one with equal arguments
        yield client.get_executor(pure=False)  # type: ignore[no-untyped-call]
