"""RML as distillation of a reward: students of q, of a trained chain and of an ensemble, and how near each comes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from structpred.distributions import Factorised
from structpred.distributions.protocols import kl
from structpred.experiments.claims.base import Answer, Claim, Interval, Results, Runs, verdict
from structpred.experiments.five_objectives import CHAIN, TAGGER
from structpred.objective import Objective
from structpred.objectives import RML, Distillation, Exact
from structpred.payoffs import HammingPayoff, Temperature
from structpred.report.drawing import GRID, looks, plain_figure, standalone, style, svg
from structpred.runs import Ensemble, Run
from structpred.sequences import Sequences
from structpred.training import Trainer
from structpred.training.data import TrainingData

SEEDS, TEACHERS = range(3), (100, 101, 102)
"""Seeds of students, and of the members of the ensemble; the chain has the first of them."""
BUDGETS = (1, 4, 12)
WORDS, BATCH = 500, 100
PAYOFF = HammingPayoff(temperature=Temperature(edit_rate=0.1))
NAMES = ("q", "chain", "ensemble")

Law = Callable[[Sequences, Sequences], Any]
"""From inputs and references to a teacher's distribution."""


def taught(runs: Runs) -> tuple[dict[str, Objective], dict[str, Law]]:
    """The objective of each student, and the distribution of its teacher."""
    chain = runs.get(CHAIN, TEACHERS[0])
    members = [runs.get(TAGGER, seed) for seed in TEACHERS]
    first, *others = (str(run.folder.path) for run in members)
    objectives: dict[str, Objective] = {
        "q": RML(payoff=PAYOFF, estimator=Exact()),
        "chain": Distillation(teacher=str(chain.folder.path), per="sequence"),
        "ensemble": Distillation(teacher=first, ensemble_with=tuple(others), per="sequence"),
    }
    networks = {"chain": doubled(chain.model), "ensemble": doubled(Ensemble(members).model)}
    labels = chain.sizes.num_labels
    laws: dict[str, Law] = {
        "q": lambda _, references: PAYOFF.distribution(references, labels),
        "chain": lambda inputs, _: networks["chain"](inputs),
        "ensemble": lambda inputs, _: networks["ensemble"](inputs),
    }
    return objectives, laws


def doubled(network: nn.Module) -> nn.Module:
    """In float64."""
    return network.double().eval()


def divergences(network: nn.Module, laws: dict[str, Law], data: TrainingData) -> dict[str, float]:
    """KL from each teacher to a student, in nats a label."""

    def apart(law: Law) -> float:
        return per_label(data, lambda x, y: kl(law(x, y), network(x)))

    return {name: apart(law) for name, law in laws.items()}


def per_label(data: TrainingData, values: Callable[[Sequences, Sequences], torch.Tensor]) -> float:
    """The sum of something over all examples, by the number of their labels."""
    total, labels = 0.0, 0
    for first in range(0, len(data), BATCH):
        rows = torch.arange(first, min(first + BATCH, len(data)))
        inputs, references = data.inputs.gather(rows), data.references.gather(data.first[rows])
        with torch.no_grad():
            total += float(values(inputs, references).sum())
        labels += int(references.lengths.sum())
    return total / labels


def beyond_a_tagger(law: Law, inputs: Sequences, references: Sequences) -> torch.Tensor:
    """KL from a teacher to the product of its marginals: no factorised student comes nearer."""
    q = law(inputs, references)
    return kl(q, Factorised(q.marginals().log(), references.lengths))


def measure(runs: Runs) -> Results:
    """KL to every teacher by student, budget and seed, on words of training and on dev; accuracy of the students."""
    objectives, laws = taught(runs)
    splits = TAGGER.task.load()
    curves: Results = {
        part: {student: {teacher: [] for teacher in NAMES} for student in NAMES} for part in ("train", "dev")
    }
    accuracies: dict[str, list[float]] = {}
    data: dict[str, TrainingData] = {}
    for student, objective in objectives.items():
        for epochs in BUDGETS:
            trainer = Trainer(epochs=epochs, batch_tokens=TAGGER.trainer.batch_tokens)
            finished: list[Run] = [runs.get(replace(TAGGER, objective=objective, trainer=trainer), s) for s in SEEDS]
            data = data or {
                part: TrainingData.of(examples, finished[0].codec)
                for part, examples in (("train", splits.train[:WORDS]), ("dev", splits.dev))
            }
            for part, given in data.items():
                found = [divergences(doubled(run.model), laws, given) for run in finished]
                for teacher in NAMES:
                    curves[part][student][teacher].append([each[teacher] for each in found])
            accuracies[student] = [run.result.scores["test"]["ACC"] for run in finished]
    floors = {part: per_label(given, lambda x, y: beyond_a_tagger(laws["chain"], x, y)) for part, given in data.items()}
    return {"curves": curves, "floors": floors, "accuracies": accuracies}


def margins(curves: Results, teacher: str) -> dict[str, Interval]:
    """After the last budget: KL from a teacher to another's student minus that to its own, by the other student."""
    own = curves[teacher][teacher][-1]
    return {student: Interval.of(curves[student][teacher][-1], own) for student in NAMES if student != teacher}


def answer(results: Results) -> Answer:
    """By KL on words of training after the last budget."""
    curves = results["curves"]
    found = [each for teacher in NAMES for each in margins(curves["train"], teacher).values()]

    def ends(part: str) -> str:
        return ", ".join(f"{np.mean(curves[part][name][name][-1]):.3f} ({name})" for name in NAMES)

    def moved(name: str) -> str:
        own, middle = curves["dev"][name][name], BUDGETS.index(4)
        return f"{np.mean(own[middle]):.3f} to {np.mean(own[-1]):.3f} ({name})"

    nearest = {
        teacher: min(NAMES, key=lambda student: float(np.mean(curves["dev"][student][teacher][-1])))
        for teacher in NAMES
    }
    dev = ", ".join(f"{student} for {teacher}" for teacher, student in nearest.items())
    scores = ", ".join(f"{np.mean(values):.2f} % ({name})" for name, values in results["accuracies"].items())
    return Answer(
        verdict(shown=all(each.above_zero for each in found), refuted=any(each.below_zero for each in found)),
        f"After {BUDGETS[-1]} epochs KL from each teacher to its own student is {ends('train')} nats a label on words "
        f"of training; no tagger can come nearer to the chain than {results['floors']['train']:.3f}. On dev it is "
        f"{ends('dev')}, and goes from 4 to 12 epochs from {', '.join(moved(name) for name in NAMES)}. The nearest "
        f"student on dev is {dev}. Accuracy of the students on test: {scores}.",
    )


def picture(results: Results) -> str:
    """KL against epochs: a teacher a column, words of training above and dev below, a line a student."""
    with plain_figure((8.6, 5.0), "claims distilled") as figure:
        for row, (part, curves) in zip(figure.subplots(2, 3), results["curves"].items(), strict=True):
            for axes, teacher in zip(row, NAMES, strict=True):
                style(axes)
                axes.grid(color=GRID, linewidth=0.6)
                for student, look in looks(list(NAMES)).items():
                    means = np.mean(curves[student][teacher], axis=1)
                    axes.plot(BUDGETS, means, color=look.colour, linestyle=look.style, marker="o", label=student)
                axes.set_xscale("log")
                axes.set_xticks(BUDGETS, [str(each) for each in BUDGETS])
                axes.set_xticks([], minor=True)
                axes.set_ylim(bottom=0)
                axes.set_title(f"from {teacher}, {'training' if part == 'train' else 'dev'}", fontsize=9)
            row[0].set_ylabel("KL, nats a label")
        for axes in row:
            axes.set_xlabel("epochs of training")
        row[0].legend(frameon=False, fontsize=8, title="student of", title_fontsize=8)
        return standalone(svg(figure))


DISTILLED = Claim(measure, answer, picture)
