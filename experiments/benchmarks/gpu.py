"""What is training like on a GPU: does it agree with a processor, how fast is it, and how many runs share one?

At most six minutes on one H100, for all parts or for those that are named::

    python -m structpred.experiments.benchmarks.gpu [PART ...] [--to figures.jsonl]

agreement: one step of every objective and model on the processor and on the device, with the same weights and draws,
and whether steps that promise never to wait for the device keep the promise. chain: forward and backward of a linear
chain, eager and as a CUDA graph, beside torchcrf. draws: Hamming, edit distance, and symbols of a decoder. translation:
tokens per second on captions in bf16, as a share of what matrix products reach; the captions are those in
``$STRUCTPRED_DATA/multi30k/tok``, or invented. packing: K runs at once until their throughput stops growing. resume:
whether a run that was stopped ends with the weights of one that was not.

Each part prints its figures as one line of JSON as soon as it has them, and adds the line to the file if there is one.
``--device cpu`` rehearses the parts in small sizes where there is no GPU.
"""

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from structpred.errors import ConfigError, RunError, StructpredError
from structpred.experiments.benchmarks.gpu_agreement import agreement
from structpred.experiments.benchmarks.gpu_runs import PACKED, RESUMED, packing, resume
from structpred.experiments.benchmarks.gpu_speed import chain, draws, translation
from structpred.experiments.benchmarks.on_device import card, require_cuda
from structpred.experiments.benchmarks.standalone import standalone
from structpred.experiments.benchmarks.timing import report
from structpred.models import Seq2Seq, SymbolEmbedding
from structpred.report.files import without_infinities
from structpred.tasks import LetterTagging, Pronunciation
from structpred.training import Trainer

Part = Callable[[torch.device], dict[str, object]]

PARTS: Mapping[str, Part] = {
    "agreement": agreement,
    "chain": chain,
    "draws": draws,
    "translation": translation,
    "packing": packing,
    "resume": resume,
}

REHEARSED: Mapping[str, Part] = {
    "agreement": partial(
        agreement, only=("maximum-likelihood", "rml", "scheduled-sampling", "optimal-completion"), size=8
    ),
    "chain": partial(chain, shapes=((4, 6, 5),), repeats=3),
    "draws": partial(draws, batch=256, edited=64, labels=50, sentences=4, repeats=3),
    "translation": partial(
        translation,
        pairs=64,
        model=Seq2Seq(inputs=SymbolEmbedding(min_count=2), embedding=8, hidden=16, dropout=0.0),
        budgets=(64,),
        steps=3,
        product=64,
    ),
    "packing": partial(
        packing,
        experiment=replace(
            PACKED,
            task=Pronunciation(size=32, held_out=4),
            model=Seq2Seq(embedding=8, hidden=16),
            trainer=Trainer(epochs=10_000, batch_tokens=64, max_seconds=1),
        ),
        counts=(1,),
    ),
    "resume": partial(
        resume,
        experiments={
            name: replace(each, task=replace(each.task, size=24, held_out=4))
            for name, each in RESUMED.items()
            if isinstance(each.task, LetterTagging)
        },
    ),
}
"""The same in sizes that a processor does in a moment."""


def measure(parts: Mapping[str, Part], device: torch.device, to: Path | None) -> int:
    """Run parts one after another, whatever becomes of those before, and report all figures at the end.

    Args:
        parts: by name.
        device: where.
        to: a file that gets a line for each part; None for none.

    Returns:
        The exit status: 0 unless a part failed.
    """
    everything: dict[str, object] = dict(card(device))
    _tell({"part": "card", **everything}, to)
    failed = False
    for name, part in parts.items():
        try:
            figures = part(device)
        except Exception as error:  # noqa: BLE001 - the other parts are worth having all the same
            if not isinstance(error, StructpredError):
                traceback.print_exc()
            figures, failed = {"failed": f"{type(error).__name__}: {error}"}, True
        _tell({"part": name, **figures}, to)
        everything |= {f"{name}_{key}": value for key, value in figures.items() if not isinstance(value, list)}
    report(
        {key: value for key, value in everything.items() if isinstance(value, float | int | str)},
        str(everything["card"]),
    )
    return 1 if failed else 0


def chosen(names: list[str], parts: Mapping[str, Part]) -> dict[str, Part]:
    """The parts that are named, or all.

    Raises:
        ConfigError: one is not there.
    """
    if unknown := [name for name in names if name not in parts]:
        raise ConfigError(f"no part is named {unknown[0]!r}; there are {', '.join(parts)}")
    return {name: part for name, part in parts.items() if not names or name in names}


def _tell(figures: Mapping[str, object], to: Path | None) -> None:
    line = json.dumps(without_infinities(dict(figures)), ensure_ascii=False, allow_nan=False)
    print(line, flush=True)
    if to is not None:
        _append(to, f"{line}\n")


def _append(path: Path, text: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written ({error.strerror}); name a file in a folder that is there, or leave --to out"
        ) from error


def main() -> None:
    """Measure and report."""
    options = argparse.ArgumentParser(description="Measure training on a GPU.")
    options.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}; all by default")
    options.add_argument("--to", type=Path, help="a file to which each part adds its figures as one line of JSON")
    options.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu rehearses in small sizes")
    given = options.parse_args()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without which cuBLAS need not repeat itself
    parts = chosen(given.parts, PARTS if given.device == "cuda" else REHEARSED)
    if given.device == "cuda":
        require_cuda(list(parts))
    if given.to is not None:
        _append(given.to, "")  # before anything is measured in vain
    if status := measure(parts, torch.device(given.device), given.to):
        sys.exit(status)


if __name__ == "__main__":
    standalone(main)
