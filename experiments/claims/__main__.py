"""Which claims of the RML paper do small experiments show?

Each can be stopped at any time and goes on::

    python -m structpred.experiments.claims

``--only smoothing`` takes one of them. Data are embedded or invented, so nothing is downloaded. A finished claim is not
measured again; delete its ``results.json`` for that.
"""

import contextlib
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from structpred.cli import as_command
from structpred.cli.arguments import Parser, one_of
from structpred.errors import RunError
from structpred.experiments.claims.augmentation import AUGMENTATION
from structpred.experiments.claims.base import Claim, Runs, paragraph
from structpred.experiments.claims.cost import COST
from structpred.experiments.claims.distilled import DISTILLED
from structpred.experiments.claims.divergences import DIVERGENCES
from structpred.experiments.claims.outputs import MARGIN, PARTIAL, SPARSE
from structpred.experiments.claims.rates import RATES_CLAIM
from structpred.experiments.claims.sampler import SAMPLER
from structpred.experiments.claims.smoothing import SMOOTHING, TEMPERATURE
from structpred.experiments.claims.unigram import UNIGRAM
from structpred.files import folder_to_write, write_atomically
from structpred.provenance import environment

CLAIMS: dict[str, Claim] = {
    "smoothing": SMOOTHING,
    "unigram": UNIGRAM,
    "divergences": DIVERGENCES,
    "margin": MARGIN,
    "distilled": DISTILLED,
    "augmentation": AUGMENTATION,
    "sampler": SAMPLER,
    "cost": COST,
    "sparse": SPARSE,
    "partial": PARTIAL,
    "temperature": TEMPERATURE,
    "rates": RATES_CLAIM,
}


def record_of(name: str, claim: Claim, root: Path, report: Path) -> str:
    """Measure what is missing and write record and picture; returns the answer as the page gives it."""
    folder = report / name
    file = folder / "results.json"
    if file.exists():
        record = _earlier(file)
    else:
        runs, before = Runs(root), time.process_time()
        results = claim.measure(runs)
        spent = runs.cpu_seconds + time.process_time() - before - runs.here
        record = {"results": results, "cpu_seconds": spent, "environment": asdict(environment())}
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(record, ensure_ascii=False) + "\n")
    write_atomically(folder / "picture.svg", claim.picture(record["results"]))
    return paragraph(name, claim, record)


def _earlier(file: Path) -> dict[str, Any]:
    """The record that was written before.

    Raises:
        RunError: it is something else.
    """
    with contextlib.suppress(ValueError):
        record = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(record, dict) and {"results", "cpu_seconds"} <= record.keys():
            return record
    raise RunError(f"{file} is not the record of a claim; move it away, and the claim is measured again")


def main() -> None:
    """Measure, claim by claim."""
    options = Parser("python -m structpred.experiments.claims", (__doc__ or "").partition("\n")[0])
    options.add_argument(
        "--only", type=one_of(CLAIMS), nargs="+", default=list(CLAIMS), help="these claims; all by default"
    )
    options.add_argument("--root", type=Path, default=Path("runs"), help="the folder of run folders")
    options.add_argument("--report", type=Path, default=Path("reports/claims"), help="where records and pictures go")
    given = options.read()
    for name in given.only:  # before any of them is measured
        folder_to_write(given.report / name)
    torch.set_num_threads(1)
    for name in given.only:
        Console().print(record_of(name, CLAIMS[name], given.root, given.report), markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(as_command(main, exits=True))
