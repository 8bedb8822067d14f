"""Where a report was made: versions, platform, threads."""

import os
import platform
from dataclasses import dataclass
from importlib import metadata

import torch

_PACKAGES = ("structpred", "torch", "lightning-fabric", "numpy", "scipy", "rapidfuzz", "matplotlib")


@dataclass(frozen=True)
class Environment:
    """The process that made a report; runs read from other machines or earlier days may have seen another.

    Attributes:
        python: version of Python.
        packages: versions of the packages that could change a number.
        platform: operating system and processor family.
        threads: how many threads were at work, in words; timings on a processor depend on them.
    """

    python: str
    packages: dict[str, str]
    platform: str
    threads: str


def environment() -> Environment:
    """The present process."""
    return Environment(
        python=platform.python_version(),
        packages={name: _version(name) for name in _PACKAGES},
        platform=platform.platform(),
        threads=(
            f"PyTorch uses {torch.get_num_threads()} threads of {os.cpu_count()} processors; "
            f"OMP_NUM_THREADS is {os.environ.get('OMP_NUM_THREADS', 'not set')}"
        ),
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # run from a checkout, or vendored
        return "not installed as a package"
