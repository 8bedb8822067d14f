"""The published edit sampler beside exact draws at equal τ: by enumeration, by draws, and in training."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from structpred.experiment import Experiment
from structpred.experiments.claims.base import Answer, Claim, Interval, Results, Runs, verdict
from structpred.experiments.five_objectives import SEQ2SEQ
from structpred.objective import Objective
from structpred.objectives import RML, MaximumLikelihood
from structpred.payoffs import EditDistancePayoff, Payoff, PublishedEditDistancePayoff, Temperature
from structpred.payoffs.automaton import automaton, partition
from structpred.report.drawing import GRID, looks, plain_figure, standalone, style, svg
from structpred.rewards import EditDistance
from structpred.rewards.base import scores_of
from structpred.sequences import Sequences
from structpred.tasks import Pronunciation
from structpred.testing.spaces import as_candidates, strings
from structpred.training import Trainer

TAUS = (0.6, 0.7, 0.8, 0.9, 1.0)
BEST = 0.9
"""Of the published temperatures, in the paper's convention."""
DRAWS, LABELS, LENGTH = 20_000, 60, 20
TAU = 0.8
BASE = replace(SEQ2SEQ, task=Pronunciation(size=1000, held_out=500), trainer=Trainer(epochs=12, batch_tokens=384))
SEEDS = range(3)
String = tuple[int, ...]


def payoffs(tau: float) -> dict[str, Payoff]:
    """Both at a published temperature."""
    temperature = Temperature(rescaled=tau)
    return {
        "exact": EditDistancePayoff(temperature=temperature),
        "published": PublishedEditDistancePayoff(temperature=temperature),
    }


# ----------------------------------------------------------------------------------------------------- enumeration


def ways(reference: String, labels: int) -> Iterator[tuple[int, String]]:
    """Every way that the published program can go, with its number of edits: substitutions, then insertions in gaps."""
    size = len(reference)
    for edits in range(max(size, 1)):
        for substituted in range(edits + 1):
            for chosen in itertools.combinations(range(size), substituted):
                gaps = range(size - substituted + 1)
                for spread in itertools.combinations_with_replacement(gaps, edits - substituted):
                    for drawn in itertools.product(range(labels), repeat=edits):
                        yield edits, written(reference, chosen, spread, drawn)


def written(reference: String, chosen: String, spread: String, drawn: String) -> String:
    """The output of one way: substitutes at the chosen places, insertions before the kept symbol of their gap."""
    symbols, out, gap = iter(drawn), list[int](), 0
    for place, label in enumerate(reference):
        if place in chosen:
            out.append(next(symbols))
            continue
        out.extend(next(symbols) for _ in range(spread.count(gap)))
        out.append(label)
        gap += 1
    return (*out, *symbols)


def published_law(reference: String, labels: int, literal: float) -> dict[String, float]:
    """The probability of every string that the published program can draw; a way of e edits weighs exp(−e/τ)."""
    law: defaultdict[String, float] = defaultdict(float)
    for edits, string in ways(reference, labels):
        law[string] += np.exp(-edits / literal)
    total = sum(law.values())
    return {string: weight / total for string, weight in law.items()}


def laws_apart(reference: String, labels: int, tau: float) -> dict[str, float]:
    """Total variation between the two laws, and between their numbers of edits alone, exactly.

    All strings that the published program can draw are listed. The exact law's weight on others is 1 minus its weight
    on these, for its normaliser is known.
    """
    literal = payoffs(tau)["exact"].literal(labels)
    law = published_law(reference, labels, literal)
    every = strings(labels, 2 * len(reference) - 1)
    distances = (-scores_of(EditDistance(), as_candidates(every), Sequences.of([reference]))[0]).round().long().numpy()
    log_total = partition(automaton(reference, labels), -1 / literal)[0]
    exact = np.exp(-distances / literal - log_total)
    published = np.array([law.get(tuple(string), 0.0) for string in every])
    assert abs(published.sum() - 1) < 1e-9, "every string that can be drawn is listed"
    listed = np.arange(len(reference))  # all strings at these distances are short enough to be listed
    by_edits = [np.bincount(distances, weights=each, minlength=len(reference) + 1) for each in (exact, published)]
    apart = np.abs(by_edits[0] - by_edits[1])[listed].sum() + (1 - by_edits[0][listed].sum())
    return {
        "laws": float(np.abs(exact - published).sum() + 1 - exact.sum()) / 2,
        "edits": float(apart + by_edits[1][len(reference) :].sum()) / 2,
    }


# ----------------------------------------------------------------------------------------------------------- draws


def edits_drawn(tau: float) -> dict[str, list[float]]:
    """The distribution of d(y, y*) in the poster's shape, 20 different symbols of 60."""
    reference = Sequences.of([list(range(LENGTH))])
    found = {}
    for name, payoff in payoffs(tau).items():
        drawn = payoff.distribution(reference, LABELS).sample(DRAWS, torch.Generator().manual_seed(0))
        distances = Counter((-scores_of(EditDistance(), drawn, reference)[0]).round().long().tolist())
        found[name] = [distances[edits] / DRAWS for edits in range(max(distances) + 1)]
    return found


def variation(one: list[float], other: list[float]) -> float:
    """Total variation between two distributions over the natural numbers."""
    width = max(len(one), len(other))
    return float(np.abs(np.pad(one, (0, width - len(one))) - np.pad(other, (0, width - len(other)))).sum()) / 2


def mean_of(distribution: list[float]) -> float:
    """The mean of a distribution over the natural numbers."""
    return float(np.arange(len(distribution)) @ np.array(distribution))


# -------------------------------------------------------------------------------------------------------- training


def arms() -> dict[str, Experiment]:
    """Likelihood, and RML from one draw of either sampler at equal τ."""
    made: dict[str, Objective] = {"likelihood": MaximumLikelihood()}
    made |= {name: RML(payoff=payoff) for name, payoff in payoffs(TAU).items()}
    return {name: replace(BASE, objective=objective) for name, objective in made.items()}


def measure(runs: Runs) -> Results:
    """The three parts."""
    metric = BASE.reported[0].name
    trained = {
        name: [runs.get(arm, seed).result.scores["test"][metric] for seed in SEEDS] for name, arm in arms().items()
    }
    return {
        "laws": {f"{tau:g}": laws_apart((0, 1, 2, 3), 4, tau) for tau in TAUS},
        "edits": {f"{tau:g}": edits_drawn(tau) for tau in TAUS},
        "PER": trained,
    }


def answer(results: Results) -> Answer:
    """By the number of edits in the poster's shape at its best τ."""
    edits, small = results["edits"], results["laws"][f"{BEST:g}"]
    apart = {tau: variation(found["exact"], found["published"]) for tau, found in edits.items()}
    at_best = apart[f"{BEST:g}"]
    means = {name: mean_of(found) for name, found in edits[f"{BEST:g}"].items()}
    others = ", ".join(f"{value:.2f} at {tau}" for tau, value in apart.items() if tau != f"{BEST:g}")
    trained = results["PER"]
    gap, gain = (Interval.of(trained[one], trained[other]) for one, other in (
        ("published", "exact"), ("exact", "likelihood")))  # fmt: skip
    return Answer(
        verdict(shown=at_best < 0.1, refuted=at_best > 0.25),
        f"In the poster's shape the numbers of edits are {at_best:.2f} apart in total variation at τ = {BEST:g} "
        f"({others}); the mean is {means['published']:.2f} edits for the published sampler and {means['exact']:.2f} "
        f"for exact draws. Around four symbols over four labels the laws are {small['laws']:.2f} apart at τ = "
        f"{BEST:g}, the numbers of edits alone {small['edits']:.2f}. In training the published sampler's PER on test "
        f"minus that of exact draws is {gap} points, that of exact draws minus likelihood's {gain}.",
    )


def picture(results: Results) -> str:
    """Numbers of edits at the best published τ, and both distances against τ."""
    edits = results["edits"][f"{BEST:g}"]
    with plain_figure((7.6, 3.3), "claims sampler") as figure:
        left, right = figure.subplots(1, 2)
        for axes in (left, right):
            style(axes)
            axes.grid(color=GRID, linewidth=0.6)
        for name, look in looks(list(edits)).items():
            left.plot(edits[name], color=look.colour, linestyle=look.style, marker="o", markersize=3, label=name)
        left.set_xlabel(f"edits of 20 symbols of 60, τ = {BEST:g}")
        left.set_ylabel("share of draws")
        left.legend(frameon=False)
        curves = {
            "edits, 20 symbols of 60": [variation(*found.values()) for found in results["edits"].values()],
            "edits, 4 symbols of 4": [found["edits"] for found in results["laws"].values()],
            "laws, 4 symbols of 4": [found["laws"] for found in results["laws"].values()],
        }
        for name, look in looks(list(curves)).items():
            right.plot(
                TAUS, curves[name], color=look.colour, linestyle=look.style, marker="o", markersize=3, label=name
            )
        right.set_ylim(bottom=0)
        right.set_xlabel("published τ")
        right.set_ylabel("total variation")
        right.legend(frameon=False, fontsize=8)
        return standalone(svg(figure))


SAMPLER = Claim(measure, answer, picture)
