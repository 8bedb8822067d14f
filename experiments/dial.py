"""Between RML and reinforcement learning, what changes with α: the score, the entropy of p, or the gradient's noise?

Run as a module, with ``STRUCTPRED_DATA`` set to a folder that holds ``letters/letter.data.gz`` and
``conll2000/{train,test}.txt.gz``. It can be stopped at any time and resumes::

    python -m structpred.experiments.dial

`Divergence` with α = 0, 0.1, 0.25, 0.5, 0.75, 0.9 and 1 on four tasks, with one setting for all α of a task, fixed
beforehand and not tuned: a tagger on letters to sounds (three seeds), a chain on OCR letters (two) and on CoNLL-2000
(one, three epochs of a network smaller than that of ``chunking``), all in closed form and from random weights; and an
encoder-decoder on pronunciation (two), from K = 5 draws an example and from 12 epochs of likelihood, the start of
``warm_start_objectives``. τ is that of ``letter_tagging``, ``ocr_letters``, ``chunking`` and ``five_objectives``.

Measured are, besides the task's first metric on test by the weights that were best on dev:

* H(p) over the dev inputs, in nats for each symbol of the references: exact for a tagger and a chain, the mean of
  −log p of 8 draws an input for the encoder-decoder.
* The gradient's signal-to-noise ratio ‖E g‖² / tr Var g. g is the gradient of the loss of one training example in all
  weights, without dropout; example and draws are both random, so that in closed form all noise is of the example. Both
  parts are estimated without bias from 128 examples, the same for all α (`Noise`), at the weights that training begins
  with, which are the same for all α of a seed, and at those that it ends with. A batch of n independent examples has n
  times this ratio.

Expected before the runs: up to α = 0.5 the score is within half a point of that at α = 0 on the three tasks in closed
form and within one on pronunciation. At α = 1 what begins at random weights fails (fewer than 60 % of labels right, or
F1 below 60), and pronunciation is worse than at α = 0 by half a point at least. H(p) falls as α rises. At the first
weights the ratio falls as α rises, on pronunciation to less than a tenth of that at α = 0.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.ticker import LogLocator
from rich.console import Console
from torch import nn

from structpred.cli import as_command
from structpred.cli.arguments import Parser
from structpred.display import show_table
from structpred.distributions.protocols import Entropy
from structpred.experiment import Experiment
from structpred.experiments import chunking, five_objectives, ocr_letters, warm_start_objectives
from structpred.files import folder_to_write, write_atomically
from structpred.models import CRF, CharacterCNN, WordEmbedding
from structpred.objectives import Divergence, Exact, Sampled
from structpred.payoffs import EditDistancePayoff, HammingPayoff, Temperature
from structpred.provenance import environment
from structpred.report.drawing import INK, plain_figure, standalone, style, svg
from structpred.runs import Run, train
from structpred.seeds import generator
from structpred.statistics import estimate
from structpred.training import Adam, Trainer
from structpred.training.data import EncodedData, TrainingData
from structpred.training.monitoring import ignore
from structpred.training.trainer import Training

ALPHAS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
EXAMPLES, DRAWS, BATCH = 128, 8, 64
"""Examples for the gradient's noise, draws an input for the entropy, and inputs at a time."""


@dataclass(frozen=True)
class Setting:
    """A task with everything but α.

    Attributes:
        base: the experiment.
        dial: the objective at any α.
        seeds: how many.
    """

    base: Experiment
    dial: Divergence
    seeds: int

    def arm(self, alpha: float) -> Experiment:
        """The experiment at α."""
        return replace(self.base, objective=replace(self.dial, alpha=alpha))


def in_closed_form(edit_rate: float) -> Divergence:
    """Under Hamming's reward."""
    return Divergence(payoff=HammingPayoff(temperature=Temperature(edit_rate=edit_rate)), estimator=Exact())


WORDS = WordEmbedding(size=100, word_dropout=0.3, characters=CharacterCNN(filters=30))
SMALL_CHUNKER = replace(
    chunking.BASE, model=CRF(inputs=WORDS, hidden=100, dropout=0.3), trainer=Trainer(epochs=3, batch_tokens=512)
)
CHAIN = ocr_letters.experiments()["chain ML"]
START = warm_start_objectives.START
DRAWN = Divergence(
    payoff=EditDistancePayoff(temperature=Temperature(edit_rate=0.04)), estimator=Sampled(k=five_objectives.K)
)
SETTINGS = {
    "letter tagging": Setting(five_objectives.TAGGER, in_closed_form(0.04), 3),
    "OCR letters": Setting(replace(CHAIN, trainer=Trainer(epochs=40, batch_tokens=128)), in_closed_form(0.04), 2),
    "CoNLL-2000": Setting(SMALL_CHUNKER, in_closed_form(0.02), 1),
    "pronunciation": Setting(
        replace(START, start=START, optimiser=Adam(lr=1e-3), trainer=Trainer(epochs=4, batch_tokens=384)), DRAWN, 2
    ),
}


def experiments() -> dict[str, Experiment]:
    """Both ends and the middle on letter tagging, as `structpred compare` takes them."""
    return {f"α = {alpha:g}": SETTINGS["letter tagging"].arm(alpha) for alpha in (0.0, 0.5, 1.0)}


# ------------------------------------------------------------------------------------------------- what is measured


@dataclass(frozen=True)
class Noise:
    """Unbiased estimates of ‖E g‖² and tr Var g.

    Attributes:
        signal: ‖E g‖²; below 0 where noise drowns it.
        variance: tr Var g.
    """

    signal: float
    variance: float

    @classmethod
    def of(cls, gradients: Iterator[torch.Tensor]) -> "Noise":
        """From n independent gradients: (‖Σ g‖² − Σ ‖g‖²) / (n(n − 1)) and (Σ ‖g‖² − ‖Σ g‖²/n) / (n − 1).

        >>> Noise.of(iter(torch.tensor([[1.0, 0.0], [3.0, 0.0]])))
        Noise(signal=3.0, variance=2.0)
        """
        first = next(gradients).double()
        total, squares, n = first, first.square().sum(), 1
        for each in gradients:
            total, squares, n = total + each, squares + each.double().square().sum(), n + 1
        length = total.square().sum()
        signal, variance = (length - squares) / (n * (n - 1)), (squares - length / n) / (n - 1)
        return cls(signal.item(), variance.item())


@dataclass(frozen=True)
class Point:
    """What one run shows.

    Attributes:
        seed: its seed.
        dev: the first metric on dev, in percent.
        test: the same on test.
        entropy: H(p) in nats for each symbol of the references.
        first: the gradient at the weights that training began with.
        last: the gradient at the weights that were best on dev.
        cpu_seconds: of the run alone, without its start.
    """

    seed: int
    dev: float
    test: float
    entropy: float
    first: Noise
    last: Noise
    cpu_seconds: float

    @classmethod
    def of(cls, node: dict[str, Any]) -> "Point":
        """From its JSON."""
        return cls(**node | {"first": Noise(**node["first"]), "last": Noise(**node["last"])})


def entropy_of(model: nn.Module, data: TrainingData, seed: int) -> float:
    """H(p) over some inputs, in nats for each symbol of their first references."""
    total, source = 0.0, generator(seed, "dial", "entropy")
    for first in range(0, len(data), BATCH):
        rows = torch.arange(first, min(first + BATCH, len(data)))
        with torch.no_grad():
            p = model(data.inputs.gather(rows))
            if isinstance(p, Entropy):
                total += p.entropy().double().sum().item()
            else:
                total -= p.log_prob(p.sample(DRAWS, source)).double().mean(1).sum().item()
    return total / data.references.lengths[data.first].sum().item()


def gradients(model: nn.Module, dial: Divergence, data: TrainingData, seed: int) -> Iterator[torch.Tensor]:
    """The gradient of one example after another, in all weights."""
    source, weights = generator(seed, "dial", "gradients"), list(model.parameters())
    dial.state(data.sizes)  # reads what the payoff needs
    for row in torch.arange(len(data)).unsqueeze(1):
        p = model(data.inputs.gather(row))
        targets = data.references.gather(data.first[row])
        loss = dial(p, targets, generator=source).values.sum()
        found = torch.autograd.grad(loss, weights, allow_unused=True)
        pairs = zip(found, weights, strict=True)
        yield torch.cat([(torch.zeros_like(one) if each is None else each).flatten() for each, one in pairs])


def measured(setting: Setting, alpha: float, seed: int, root: Path) -> Point:
    """Train, and measure at both ends of training; or what was measured before."""
    experiment = replace(setting.arm(alpha), seed=seed)
    run = train(experiment, root=root, device="cpu")
    kept = root / "dial" / f"{run.result.identity[:16]}.json"
    if kept.exists():
        return Point.of(json.loads(kept.read_text(encoding="utf-8")))
    splits = experiment.task.load()
    some = TrainingData.of(splits.train[:EXAMPLES], run.codec)
    dial = replace(setting.dial, alpha=alpha)
    first, last = (
        Noise.of(gradients(model.eval(), dial, some, seed)) for model in (beginning(experiment, root), run.model)
    )
    metric = experiment.reported[0].name
    entropy = entropy_of(run.model, TrainingData.of(splits.dev, run.codec), seed)
    scores = {split: run.result.scores[split][metric] for split in ("dev", "test")}
    point = Point(seed, scores["dev"], scores["test"], entropy, first, last, run.result.cpu_seconds)
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(kept, json.dumps(asdict(point)) + "\n")
    return point


def beginning(experiment: Experiment, root: Path) -> nn.Module:
    """The network as training begins."""
    if experiment.start is not None:
        started: Run = train(experiment.start, root=root, device="cpu")
        return started.model
    prepared = EncodedData.of(experiment.task.load(), experiment.model)
    return Training(experiment, prepared, device="cpu", observer=ignore).model


# ------------------------------------------------------------------------------------------------------- the report


COLUMNS = ("α", "test", "H(p), nats a symbol", "SNR, first weights", "SNR, last weights", "CPU-seconds")


def ratio(points: Sequence[Point], when: str) -> float:
    """‖E g‖² / tr Var g, both averaged over seeds."""
    found = [getattr(point, when) for point in points]
    return float(np.mean([each.signal for each in found]) / np.mean([each.variance for each in found]))


def rows(points: Mapping[str, Sequence[Point]]) -> list[tuple[str, ...]]:
    """A task's table."""
    made = []
    for alpha, each in points.items():
        score, entropy = (estimate(np.array([getattr(one, name) for one in each])) for name in ("test", "entropy"))
        ratios = (f"{ratio(each, when):.2g}" for when in ("first", "last"))
        made.append(
            (alpha, str(score), f"{entropy.mean:.3f}", *ratios, f"{np.mean([x.cpu_seconds for x in each]):.1f}")
        )
    return made


def points_of(task: Mapping[str, Any]) -> dict[str, list[Point]]:
    """By α, from JSON."""
    return {alpha: [Point.of(each) for each in found] for alpha, found in task["points"].items()}


def text(results: Mapping[str, Any]) -> str:
    """The report."""
    question = (__doc__ or "").partition("\n")[0]
    lines = [
        f"# {question}",
        "",
        "Made by `structpred.experiments.dial`, whose docstring defines what is measured.",
        "",
    ]
    for name, task in results["tasks"].items():
        lines += [f"## {name}", "", f"Test is {task['metric']}, {task['better']} is better; seeds {task['seeds']}.", ""]
        lines += [f"| {' | '.join(COLUMNS)} |", "|" + " ---: |" * len(COLUMNS)]
        lines += [f"| {' | '.join(row)} |" for row in rows(points_of(task))] + [""]
    packages = results["environment"]["packages"]
    lines += ["* " + ", ".join(f"{name} {version}" for name, version in packages.items())]
    return "\n".join([*lines, f"* {results['environment']['threads']}", ""])


def picture(results: Mapping[str, Any]) -> str:
    """Score, entropy and both ratios against α, a column a task; ratios that are not positive are left out."""
    tasks = results["tasks"]
    with plain_figure((2.9 * len(tasks), 7.0), "dial") as figure:
        drawn = figure.subplots(3, len(tasks), sharex=True, squeeze=False)
        for column, (name, task) in enumerate(tasks.items()):
            points, alphas = points_of(task), [float(alpha) for alpha in task["points"]]
            score, entropy, noise = drawn[:, column]
            for axes in (score, entropy, noise):
                style(axes)
            for axes, field in ((score, "test"), (entropy, "entropy")):
                means = [np.mean([getattr(one, field) for one in each]) for each in points.values()]
                axes.plot(alphas, means, color=INK, marker="o", markersize=3, linewidth=1.2)
            for when, line in (("first", "-"), ("last", "--")):
                values = [ratio(each, when) for each in points.values()]
                shown = [value if value > 0 else np.nan for value in values]
                noise.plot(alphas, shown, line, color=INK, marker="o", markersize=3, label=f"{when} weights")
            noise.set_yscale("log", subs=())
            noise.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            noise.yaxis.set_major_formatter("{x:g}")
            noise.set_xlabel("α")
            score.set_title(f"{name}: {task['metric']} on test, %", fontsize=9)
        drawn[1, 0].set_ylabel("H(p), nats a symbol")
        drawn[2, 0].set_ylabel("‖E g‖² / tr Var g")
        figure.legend(*drawn[2, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
        return standalone(svg(figure))


def main() -> None:
    """Run what is missing, task by task, and write after each."""
    options = Parser("python -m structpred.experiments.dial", (__doc__ or "").partition("\n")[0])
    options.add_argument("--root", type=Path, default=Path("runs"), help="the folder of run folders")
    options.add_argument("--report", type=Path, default=Path("reports/dial"), help="where the report goes")
    given = options.read()
    folder_to_write(given.report)
    torch.set_num_threads(1)
    console, tasks = Console(), {}
    for name, setting in SETTINGS.items():
        points: dict[str, list[dict[str, Any]]] = {f"{alpha:g}": [] for alpha in ALPHAS}
        for seed in range(setting.seeds):
            for alpha in ALPHAS:
                point = measured(setting, alpha, seed, given.root)
                console.print(f"{name}, α = {alpha:g}, seed {seed}: dev {point.dev:.2f}")
                points[f"{alpha:g}"].append(asdict(point))
        metric = setting.base.reported[0]
        tasks[name] = {
            "metric": metric.name,
            "better": "higher" if metric.higher_is_better else "lower",
            "seeds": list(range(setting.seeds)),
            "experiment": json.loads(setting.arm(0.5).to_json()),
            "points": points,
        }
        results = {"tasks": tasks, "examples": EXAMPLES, "draws": DRAWS, "environment": asdict(environment())}
        show_table(console, COLUMNS, rows(points_of(tasks[name])))
        given.report.mkdir(parents=True, exist_ok=True)
        write_atomically(given.report / "curves.json", json.dumps(results, ensure_ascii=False) + "\n")
        write_atomically(given.report / "report.md", text(results))
        write_atomically(given.report / "curves.svg", picture(results))


if __name__ == "__main__":
    sys.exit(as_command(main, exits=True))
