"""Provenance of results: versions, platform, threads, commit."""

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import torch

from structpred.text import counted

_PACKAGES = ("structpred", "torch", "lightning-fabric", "numpy", "scipy", "rapidfuzz", "matplotlib")
_IF_USED = ("sentencepiece", "tokenizers", "transformers")
"""Optional packages, which affect results once they are imported."""


@dataclass(frozen=True)
class Environment:
    """The process that trained a run or wrote a report.

    Attributes:
        python: version of Python.
        packages: versions of the packages that can affect results.
        platform: operating system and CPU architecture.
        threads: the number of threads as a message; timings on a CPU depend on it.
    """

    python: str
    packages: dict[str, str]
    platform: str
    threads: str

    def told(self, **others: str) -> str:
        """Who has made a report, in a sentence without its end; ``others`` are versions of more packages by name."""
        packages = ", ".join(f"{name} {version}" for name, version in {**self.packages, **others}.items())
        return f"Report made with Python {self.python} on {self.platform}; {packages}."


def environment() -> Environment:
    """The environment of this process."""
    return Environment(
        python=platform.python_version(),
        packages={name: _version(name) for name in (*_PACKAGES, *(each for each in _IF_USED if each in sys.modules))},
        platform=platform.platform(),
        threads=(
            f"PyTorch uses {_threads()} on {os.cpu_count()} processors; "
            f"OMP_NUM_THREADS is {os.environ.get('OMP_NUM_THREADS', 'not set')}"
        ),
    )


@cache  # reading metadata takes milliseconds a package
def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # run from a checkout, or vendored
        return "not installed as a package"


def device_name(device: torch.device) -> str:
    """The name of a device; for a CPU with the number of threads in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.processor() or platform.machine()}, {_threads()}"


def _threads() -> str:
    return counted(torch.get_num_threads(), "thread")


def commit() -> dict[str, str | bool | None]:
    """The ``commit`` of this package's checkout, None outside of one, and whether tracked files are ``changed``."""
    here = Path(__file__).parent
    try:
        head = _git(here, "rev-parse", "HEAD")
        return {"commit": head, "changed": bool(_git(here, "status", "--porcelain", "--untracked-files=no", "."))}
    except (OSError, subprocess.CalledProcessError):  # no git, or no checkout
        return {"commit": None, "changed": False}


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()
