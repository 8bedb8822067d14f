"""The first part of the benchmark `gpu`: one step of every objective and model, on the CPU and on a device.

Both begin with the same weights and see the same batch. What a payoff draws ahead of the step is drawn in main memory
and handed to both. What an objective draws within the step comes from a generator of its device, and generators of
different devices never agree; so the uniform numbers that all draws are made of are drawn in main memory and handed to
both as well (`Handed`). An output that is drawn from them is the same on both unless a number falls between two
cumulative probabilities that differ by rounding, about once in a million draws; such a pair is not let off.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from structpred.capabilities import combinations
from structpred.config import Config, components, registered_name
from structpred.experiment import Experiment
from structpred.experiments.benchmarks.on_device import waits_counted
from structpred.models import CRF, LSTMTagger, Model, Seq2Seq, Transformer
from structpred.objective import Objective
from structpred.objectives import MaximumLikelihood
from structpred.payoffs import ReweightedPayoff
from structpred.returned import waiting
from structpred.rewards import Context, bind
from structpred.runs import train
from structpred.task import Splits, Task
from structpred.tasks import LetterTagging, Pronunciation
from structpred.training import Trainer, waits
from structpred.training.batching import EpochPlan
from structpred.training.data import EncodedData
from structpred.training.distributed import DistributedContext
from structpred.training.step import Stepper

Figures = dict[str, object]

LOSS, GRADIENT = 1e-4, 1e-3
"""Largest differences of two steps that agree: of a loss, relative and from 1 on, and of the gradient, relative to its
largest entry. Both sides compute in float32, without TF32."""
LEAST = 1e-3
"""A gradient that is smaller throughout is compared as if this were its largest entry: where it ought to be 0, as under
a reward that says nothing, it consists of rounding errors."""

SMALL: dict[str, Model] = {
    "crf": CRF(embedding=32, hidden=64, dropout=0.0),
    "lstm-tagger": LSTMTagger(embedding=32, hidden=64, dropout=0.0),
    "seq2seq": Seq2Seq(embedding=32, hidden=64, dropout=0.0, length_ratio=1.0, length_extra=2),
    "transformer": Transformer(
        hidden=32, feedforward=64, encoder_layers=1, decoder_layers=1, dropout=0.0, length_ratio=1.0, length_extra=2
    ),
}
"""Without dropout: its masks are drawn inside fused kernels, which take no numbers from outside."""

RANDOM = {
    getattr(torch.ops.aten, name)
    for name in ("rand", "randn", "randint", "randperm", "uniform_", "exponential_", "bernoulli")
}


class Handed(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch annotates little of this
    """Draws all random numbers in main memory, from a generator of its own, and hands them to whoever asked.

    Args:
        seed: of the generator.

    Attributes:
        drawn: how many numbers have been drawn.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.generator = torch.Generator().manual_seed(seed)
        self.drawn = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if function.overloadpacket not in RANDOM:
            return function(*args, **kwargs)
        given = args[0] if args and isinstance(args[0], Tensor) else None
        device = kwargs.get("device") or (torch.device("cpu") if given is None else given.device)
        here = tree_map_only(Tensor, lambda each: each.cpu(), args)
        kwargs = {name: value for name, value in kwargs.items() if name not in ("generator", "device", "pin_memory")}
        found: Tensor = function.overloadpacket(*here, generator=self.generator, **kwargs)
        self.drawn += found.numel()
        if function._schema.name.endswith("_") and given is not None:
            return given.copy_(found)
        return found.to(device)


@dataclass(frozen=True)
class Outcome:
    """What a step came to, in main memory.

    Attributes:
        losses: of each example.
        gradients: of each parameter, clipped.
        drawn: random numbers that the step asked for.
    """

    losses: Tensor
    gradients: list[Tensor]
    drawn: int


def agreement(device: torch.device, only: Sequence[str] = (), size: int = 64) -> Figures:
    """The table, and what it comes to.

    A line of the table is about a step of an ``objective`` on a ``model``. It holds ``draws`` (``"none"``, ``"ahead"``
    of the step, or ``"in the step"`` from uniform numbers handed to both); the largest differences of a ``loss``,
    relative where that is above 1, and of an entry of the ``gradient``, relative to the largest; whether both ``agree``
    within `LOSS` and `GRADIENT`; whether the step ``promises`` not to wait for the device, how often a second step
    ``waits``, as PyTorch counts it (−1 on a CPU), and up to three places ``where`` it does.

    Args:
        device: compared with the CPU.
        only: names of objectives; all by default.
        size: training examples.
    """
    with tempfile.TemporaryDirectory() as folder, _without_tf32():
        rows = [
            _row(taught, model, device, size)
            for objective, model in pairs()
            if not only or registered_name(objective) in only
            for taught in [_with_teacher(objective, model, Path(folder), size)]
        ]
    promising = [row for row in rows if row["promises"]]
    worst = max(rows, key=lambda row: row["gradient"])
    return {
        "tolerance_loss": LOSS,
        "tolerance_gradient": GRADIENT,
        "steps": len(rows),
        "agree": sum(row["agree"] for row in rows),
        "disagree": _listed(row for row in rows if not row["agree"]),
        "largest_loss_difference": max(row["loss"] for row in rows),
        "largest_gradient_difference": worst["gradient"],
        "largest_gradient_difference_in": f"{worst['objective']} on {worst['model']}",
        "promise_not_to_wait": len(promising),
        "break_that_promise": _listed(row for row in promising if row["waits"] > 0),
        "table": rows,
    }


def _listed(rows: Iterable[dict[str, Any]]) -> str:
    return "; ".join(f"{row['objective']} on {row['model']}" for row in rows) or "none"


def pairs() -> Iterator[tuple[Objective, Model]]:
    """What the capability table says works, of the package's own components; a user's own reward is left out.

    So are objectives that are made of others, because they take the steps that their parts do; and of payoffs for any
    reward only the first with each model is taken, because its draws are weighed ahead of the step.
    """
    reweighted: set[tuple[type[Objective], str]] = set()
    for objective, model in combinations():
        known = all(type(part).__module__.startswith("structpred.") for part in (*components(objective), model))
        if not known or registered_name(model) not in SMALL or "module:function" in objective.to_json():
            continue
        if any(isinstance(part, ReweightedPayoff) for part in components(objective)):
            if (type(objective), registered_name(model)) in reweighted:
                continue
            reweighted.add((type(objective), registered_name(model)))
        yield objective, SMALL[registered_name(model)]


def step(
    experiment: Experiment, prepared: EncodedData, device: torch.device, seed: int = 0
) -> tuple[Outcome, list[str]]:
    """A first step, with all random numbers handed to it, and the places where a second one synchronised."""
    stepper = Stepper(experiment, prepared, DistributedContext(device.type))
    resident, budget = prepared.training.to(device), experiment.trainer.batch_tokens
    plan = EpochPlan(prepared.training, resident, experiment.objective, budget=budget, seed=0, epoch=0)
    with Handed(seed) as handed, waiting(False):
        taken = stepper.train_step(plan, 0, 0, 0.5)
    gradients = [each.grad.detach().cpu().clone() for each in stepper.parameters if each.grad is not None]
    outcome = Outcome(taken.scored.losses.cpu(), gradients, handed.drawn)
    with waits_counted(device) as waited, waiting(False):
        stepper.train_step(plan, 1 % len(plan), 1, 0.5)
    return outcome, waited


def differences(one: Outcome, other: Outcome) -> tuple[float, float]:
    """Of the losses and of the gradients, as the table of `agreement` has them; infinite where one is not a number."""
    loss = (one.losses - other.losses).abs() / one.losses.abs().clamp(min=1)
    largest = max(float(each.abs().max()) for each in one.gradients)
    apart = max(float((a - b).abs().max()) for a, b in zip(one.gradients, other.gradients, strict=True))
    found = (float(loss.max()), apart / max(largest, LEAST))
    return found if all(each == each for each in found) else (float("inf"), float("inf"))


def _row(objective: Objective, model: Model, device: torch.device, size: int) -> dict[str, Any]:
    experiment, prepared = _experiment(objective, model, size), _prepared(model, size)
    context = Context(experiment.task, prepared.codec.vocabularies.labels, prepared.splits.train)
    experiment = bind(experiment, context)
    here, _ = step(experiment, prepared, torch.device("cpu"))
    there, waited = step(experiment, prepared, device)
    loss, gradient = differences(here, there)
    return {
        "objective": _name(objective),
        "model": registered_name(model),
        "draws": "in the step" if here.drawn else "ahead" if objective.drawn else "none",
        "loss": loss,
        "gradient": gradient,
        "agree": loss <= LOSS and gradient <= GRADIENT,
        "promises": waits.promises(objective, model),
        "waits": -1 if device.type == "cpu" else len(waited),
        "where": ", ".join(list(dict.fromkeys(waited))[:3]),
    }


def _name(objective: Objective) -> str:
    parts: list[Config] = [part for part in components(objective) if part.family is not None]
    return " ".join(registered_name(part) for part in parts)


def _experiment(objective: Objective, model: Model, size: int) -> Experiment:
    return Experiment(task=_task(model, size), model=model, objective=objective, trainer=Trainer(batch_tokens=128))


def _task(model: Model, size: int) -> Task:
    kind = LetterTagging if model.distribution.fixed_length else Pronunciation
    return kind(size=size, held_out=4)


@cache
def _loaded(task: Task) -> Splits:
    return task.load()


@cache
def _prepared(model: Model, size: int) -> EncodedData:
    return EncodedData.of(_loaded(_task(model, size)), model)


def _with_teacher(objective: Objective, model: Model, folder: Path, size: int) -> Objective:
    """An objective that learns from a finished run gets one, of the same model."""
    if not objective.learns_from:
        return objective
    lesson = replace(_experiment(MaximumLikelihood(), model, size), trainer=Trainer(epochs=1, batch_tokens=128))
    return replace(objective, **{objective.learns_from: str(train(lesson, root=folder, device="cpu").folder.path)})


@contextmanager
def _without_tf32() -> Iterator[None]:
    """Full float32 in recurrent kernels, whose default is TF32."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield
