"""What is training like on a GPU: does it agree with the CPU, how fast is it, and how many runs share one?

At most six minutes on one H100, for all parts or for those that are named::

    python -m structpred.experiments.benchmarks.gpu [PART ...] [--to figures.jsonl]

agreement: one step of every objective and model on the CPU and on the device, with the same weights and draws, and
whether steps that promise never to wait for the device keep the promise. chain: forward and backward of a linear chain,
eager and as a CUDA graph, beside torchcrf. draws: Hamming, edit distance, and symbols of a decoder. translation: tokens
per second of an LSTM and of a Transformer on captions in bf16, as a share of what matrix products reach; the captions
are those in ``$STRUCTPRED_DATA/multi30k/tok``, or invented. packing: K runs at once until their throughput stops
growing. resume: whether a run that was stopped ends with the weights of one that was not.

Each part prints its figures as one line of JSON as soon as it has them, and adds the line to the file if there is one.
``--device cpu`` rehearses the parts in small sizes where there is no GPU.
"""

import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from structpred.cli.arguments import Parser, one_of
from structpred.comparison.runner import compare
from structpred.errors import ConfigError, Interrupted, RunError, StructpredError
from structpred.experiment import Experiment
from structpred.experiments.benchmarks.gpu_agreement import agreement
from structpred.experiments.benchmarks.gpu_speed import chain, draws, translation
from structpred.experiments.benchmarks.measuring import DEFAULT_THREADS, report, standalone
from structpred.experiments.benchmarks.on_device import card, require_cuda
from structpred.models import CRF, LSTMTagger, Seq2Seq, SymbolEmbedding, Transformer
from structpred.objectives import REINFORCE, MaximumLikelihood
from structpred.report.files import without_infinities
from structpred.tasks import LetterTagging, Pronunciation
from structpred.training import Trainer, checkpoint
from structpred.training.checkpoint import State
from structpred.training.data import EncodedData
from structpred.training.trainer import Training

Figures = dict[str, object]

PACKED = Experiment(
    task=Pronunciation(size=3000, held_out=50),
    model=Seq2Seq(embedding=96, hidden=192),
    objective=MaximumLikelihood(),
    trainer=Trainer(epochs=10_000, batch_tokens=384, max_seconds=10),
)
"""The size of the main job's runs, ended by the clock."""

GROWING = 1.1
"""Twice as many runs must reach at least this multiple of the throughput, or no more are tried."""

RESUMED: dict[str, Experiment] = {
    name: Experiment(task=task, model=model(embedding=64, hidden=128), objective=objective)
    for name, task, model, objective in (
        ("seq2seq_likelihood", Pronunciation(size=400, held_out=20), Seq2Seq, MaximumLikelihood()),
        ("seq2seq_reinforce", Pronunciation(size=200, held_out=20), Seq2Seq, REINFORCE()),
        ("tagger_likelihood", LetterTagging(size=400, held_out=20), LSTMTagger, MaximumLikelihood()),
        ("crf_likelihood", LetterTagging(size=400, held_out=20), CRF, MaximumLikelihood()),
    )
}


def packing(
    device: torch.device,
    experiment: Experiment = PACKED,
    counts: tuple[int, ...] = (1, 2, 4, 8, 16),
    limit: float = 120.0,
) -> Figures:
    """Target tokens a second of K runs at once, each a process of one thread, as ``compare --workers K`` has them.

    A run's rate is measured while it trains; runs begin within the seconds that processes take to start, so the first
    and the last train alone for a moment.

    Args:
        device: all runs are on it.
        experiment: what each trains, under seeds of their own; its budget is in seconds.
        counts: K, ascending.
        limit: seconds after which no other K is begun.
    """
    figures: Figures = {"seconds_of_a_run": experiment.trainer.max_seconds or 0.0}
    begun, before = time.monotonic(), 0.0
    for count in counts:
        if time.monotonic() - begun > limit:
            return figures | {"ended": f"before {count} runs, after {limit:g} seconds"}
        try:
            rate = _rate(device, experiment, count)
        except RunError as error:
            return figures | {"ended": f"at {count} runs: {error}"}
        figures[f"tokens_per_second_of_{count}_at_once"] = rate
        if before and rate < GROWING * before:
            return figures | {"ended": f"at {count} runs, whose throughput is {rate / before:.2f} × that before"}
        before = rate
    if len(counts) == 1:
        return figures | {"ended": "no growth was measured, for want of other numbers of runs"}
    return figures | {"ended": f"at {counts[-1]} runs, while throughput was growing still"}


def _rate(device: torch.device, experiment: Experiment, count: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        report = compare(
            {"ML": experiment},
            seeds=range(count),
            root=folder,
            workers=count,
            device=device.type,
            console=Console(quiet=True),
        )
        return sum(run.tokens_per_second for run in report.results["ML"])


def resume(device: torch.device, experiments: dict[str, Experiment] = RESUMED) -> Figures:
    """Whether a run that was stopped half-way and went on from its checkpoint ends with the same weights.

    Where it does not, a second uninterrupted run tells whether the device repeats itself at all.
    """
    return {name: _resumed(each, device) for name, each in experiments.items()}


def _resumed(experiment: Experiment, device: torch.device) -> str:
    experiment = replace(experiment, trainer=Trainer(epochs=2, batch_tokens=256))
    prepared = EncodedData.of(experiment.task.load(), experiment.model)
    straight, again = (_trained(experiment, prepared, device, None) for _ in range(2))
    stopped = _trained(experiment, prepared, device, straight.steps // 2 + 1)
    resumed, repeated = apart(straight, stopped), apart(straight, again)
    if resumed == 0:
        return "bit-exact"
    if repeated == 0:
        return f"not bit-exact: weights differ by up to {resumed:.1e}, though the run repeats itself without a stop"
    return (
        f"not bit-exact: weights differ by up to {resumed:.1e}, and by {repeated:.1e} where the run is repeated "
        "without a stop, because kernels of the device add in no fixed order"
    )


def _trained(experiment: Experiment, prepared: EncodedData, device: torch.device, stop: int | None) -> Training:
    """A run to its end; with ``stop``, interrupted after that many steps and resumed from a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint"

        def save(state: State) -> None:
            checkpoint.save(path, state)

        training = Training(experiment, prepared, device=device.type)
        if stop is not None:
            begun = training
            try:
                begun.run(save=save, save_every=float("inf"), stopping=lambda: begun.steps >= stop)
            except Interrupted:
                training = Training(experiment, prepared, device=device.type)
                training.restore(checkpoint.load(path))
        training.run(save=save, save_every=float("inf"), stopping=lambda: False)
    return training


def apart(one: Training, other: Training) -> float:
    """The largest difference of two runs' weights."""
    weights = zip(one.model.parameters(), other.model.parameters(), strict=True)
    return max(float((a.detach() - b.detach()).abs().max()) for a, b in weights)


Part = Callable[[torch.device], dict[str, object]]

PARTS: Mapping[str, Part] = {
    "agreement": agreement,
    "chain": chain,
    "draws": draws,
    "translation": translation,
    "packing": packing,
    "resume": resume,
}

_TRANSLATORS = {
    "": Seq2Seq(inputs=SymbolEmbedding(min_count=2), embedding=8, hidden=16, dropout=0.0),
    "transformer_": Transformer(
        inputs=SymbolEmbedding(min_count=2), hidden=8, feedforward=8, encoder_layers=1, decoder_layers=1, dropout=0.0
    ),
}
_PACKED = replace(
    PACKED,
    task=Pronunciation(size=32, held_out=4),
    model=Seq2Seq(embedding=8, hidden=16),
    trainer=Trainer(epochs=10_000, batch_tokens=64, max_seconds=1),
)
_RESUMED = {
    name: replace(each, task=replace(each.task, size=24, held_out=4))
    for name, each in RESUMED.items()
    if isinstance(each.task, LetterTagging)
}
_AGREEING = ("maximum-likelihood", "rml", "scheduled-sampling", "optimal-completion")
REHEARSED: Mapping[str, Part] = {
    "agreement": partial(agreement, only=_AGREEING, size=8),
    "chain": partial(chain, shapes=((4, 6, 5),), repeats=3),
    "draws": partial(draws, batch=256, edited=64, labels=50, sentences=4, repeats=3),
    "translation": partial(translation, pairs=64, models=_TRANSLATORS, budgets=(64,), steps=3, product=64),
    "packing": partial(packing, experiment=_PACKED, counts=(1,)),
    "resume": partial(resume, experiments=_RESUMED),
}
"""The same in sizes for a rehearsal on the CPU."""


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
    options = Parser("python -m structpred.experiments.benchmarks.gpu", "Measure training on a GPU.")
    options.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}; all by default")
    options.add_argument("--to", type=Path, help="a file to which each part adds its figures as one line of JSON")
    options.add_argument("--device", type=one_of(["cuda", "cpu"]), default="cuda", help="cpu rehearses in small sizes")
    given = options.read()
    torch.set_num_threads(DEFAULT_THREADS)
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
