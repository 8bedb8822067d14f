"""RML's edit rate on chains and encoder-decoders, beside the ε of smoothing on the same axis."""

from dataclasses import dataclass, replace

import numpy as np

from structpred.experiment import Experiment
from structpred.experiments.claims.base import Answer, Claim, Results, Runs, verdict
from structpred.experiments.claims.outputs import VARIANTS
from structpred.experiments.claims.smoothing import TIMIT_SHAPED, rate_axes, scores, smoothed, verdict_on
from structpred.experiments.five_objectives import CHAIN, SEQ2SEQ, rml_exact
from structpred.models import CRF
from structpred.objective import Objective
from structpred.objectives import RML, MaximumLikelihood, Sampled
from structpred.payoffs import EditDistancePayoff, Temperature
from structpred.report.drawing import looks, plain_figure, standalone, style, svg
from structpred.tasks import LetterTagging, Pronunciation

RATES = (0.02, 0.05, 0.12, 0.3, 0.6)


def one_draw(rate: float) -> Objective:
    """RML around the edit distance, as the paper trains it."""
    return RML(payoff=EditDistancePayoff(temperature=Temperature(edit_rate=rate)), estimator=Sampled(k=1))


@dataclass(frozen=True)
class Curves:
    """A task with its model, and what is tried on it.

    Attributes:
        base: under likelihood.
        drawn: True for a model that decides the length, which gets RML from one draw, and smoothing.
        seeds: of the runs.
    """

    base: Experiment
    drawn: bool
    seeds: range = range(8)

    def objective(self, way: str, rate: float) -> Objective:
        """RML or smoothing at a rate."""
        if way == "smoothing":
            return smoothed(rate)
        return one_draw(rate) if self.drawn else rml_exact(rate)

    @property
    def ways(self) -> tuple[str, ...]:
        """A chain has no smoothing: the package smooths each step of its own, and a chain has none."""
        return ("RML", "smoothing") if self.drawn else ("RML",)


TASKS = {
    "letters, CRF": Curves(replace(CHAIN, task=LetterTagging(size=500, held_out=500)), drawn=False),
    "TIMIT's shape, CRF": Curves(replace(TIMIT_SHAPED, model=CRF(embedding=48, hidden=128)), drawn=False),
    "spelling variants, encoder-decoder": Curves(VARIANTS, drawn=True),
    "pronunciation, encoder-decoder": Curves(
        replace(SEQ2SEQ, task=Pronunciation(size=1000, held_out=500)), drawn=True, seeds=range(3)
    ),
}


def right(runs: Runs, task: Curves, objective: Objective) -> dict[str, list[float]]:
    """`scores`, with an error rate turned into 100 minus it."""
    found = scores(runs, task.base, objective, task.seeds)
    if task.base.reported[0].higher_is_better:
        return found
    return {split: [100 - value for value in values] for split, values in found.items()}


def measure(runs: Runs) -> Results:
    """Scores by task, way and rate, where the rate 0 is likelihood."""
    curves: Results = {}
    for name, task in TASKS.items():
        likelihood = right(runs, task, MaximumLikelihood())
        curves[name] = {
            way: {"0": likelihood} | {f"{rate:g}": right(runs, task, task.objective(way, rate)) for rate in RATES}
            for way in task.ways
        }
    return curves


def answer(results: Results) -> Answer:
    """By the number of tasks that show an optimum between, and that are best under likelihood."""
    found = {(name, way): verdict_on(curve) for name, ways in results.items() for way, curve in ways.items()}
    rml = [each for (_, way), (each, _, _) in found.items() if way == "RML"]
    told = "; ".join(
        f"{name}, {way}: "
        + ("likelihood is best on dev" if best == "0" else f"best on dev at {best}, {gain} points on test")
        for (name, way), (_, best, gain) in found.items()
    )
    ends = "; ".join(
        f"{np.mean(ways['RML']['0']['test']):.2f} and {np.mean(list(ways['RML'].values())[-1]['test']):.2f} % ({name})"
        for name, ways in results.items()
    )
    highest = list(next(iter(results.values()))["RML"])[-1]
    return Answer(
        verdict(shown=rml.count("shown") == len(rml), refuted=rml.count("refuted") == len(rml)),
        f"{rml.count('shown')} of {len(rml)} tasks show it for RML, and {rml.count('refuted')} are best under "
        f"likelihood. {told}. First metric on test under likelihood and under RML at {highest}: {ends}.",
    )


def picture(results: Results) -> str:
    """Gain over likelihood against the rate, a task a panel."""
    with plain_figure((6.8, 6.0), "claims rates") as figure:
        for axes, (name, ways) in zip(figure.subplots(2, 2).flat, results.items(), strict=True):
            style(axes)
            for way, look in looks(["RML", "smoothing"]).items():
                if way not in ways:
                    continue
                curve = ways[way]
                gains = [np.subtract(curve[rate]["test"], curve["0"]["test"]) for rate in curve if rate != "0"]
                rates = [float(rate) for rate in curve if rate != "0"]
                means = [each.mean() for each in gains]
                axes.plot(rates, means, color=look.colour, linestyle=look.style, marker="o", markersize=4, label=way)
                for rate, each in zip(rates, gains, strict=True):
                    axes.plot([rate] * len(each), each, "o", color=look.colour, alpha=0.4, markersize=3)
            axes.axhline(0, color="grey", linewidth=1, label="likelihood")
            rate_axes(axes, rates, "edit rate, or ε of smoothing")
            axes.set_title(name, fontsize=9)
            axes.set_ylabel("points above likelihood on test")
        axes.legend(frameon=False, fontsize=8)
        return standalone(svg(figure))


RATES_CLAIM = Claim(measure, answer, picture)
