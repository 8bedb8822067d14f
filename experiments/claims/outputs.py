"""Three claims about what trained models predict: a margin's bound on errors, sparse rewards, and partial credit."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from structpred.errors import AbsentError
from structpred.experiment import Experiment
from structpred.experiments.claims.base import Answer, Claim, Interval, Results, Runs, verdict
from structpred.experiments.five_objectives import CHAIN, SEQ2SEQ, TAGGER, K
from structpred.models import Seq2Seq
from structpred.objective import Objective
from structpred.objectives import REINFORCE, MaxMargin, MinimumRisk, Samples
from structpred.report.drawing import GRID, draw_estimate, looks, plain_figure, standalone, style, svg
from structpred.rewards import EditDistance, FunctionReward, Hamming
from structpred.rewards.base import scores_of
from structpred.sequences import spelt
from structpred.task import Task
from structpred.tasks import SpellingVariants
from structpred.training import Adam, Trainer
from structpred.training.data import TrainingData

SEEDS = range(3)

# ------------------------------------------------------------------------------------------------- a margin's bound

BUDGETS = (1, 2, 4, 8, 16)
WORDS, BATCH = 500, 100
HINGE = MaxMargin(reward=Hamming(), scale=1.0)
ROUNDING = 1e-6
"""Nats; the hinge is computed in float64."""


def bounds(network: nn.Module, data: TrainingData) -> tuple[list[float], list[float]]:
    """The hinge and the number of wrong letters of every example."""
    hinges, wrong = list[float](), list[float]()
    for first in range(0, len(data), BATCH):
        rows = torch.arange(first, min(first + BATCH, len(data)))
        targets = data.references.gather(data.first[rows])
        with torch.no_grad():
            p = network(data.inputs.gather(rows))
            hinges += HINGE(p, targets).values.tolist()
            wrong += (-scores_of(Hamming(), p.argmax().candidates(), targets)).squeeze(1).tolist()
    return hinges, wrong


def measure_margin(runs: Runs) -> Results:
    """Mean hinge and mean wrong letters of every seed, by split and budget, and how many words break the bound."""
    curves: dict[str, dict[str, list[Any]]] = {
        split: {"hinge": [], "wrong": [], "broken": []} for split in ("train", "dev")
    }
    for epochs in BUDGETS:
        trainer = Trainer(epochs=epochs, batch_tokens=CHAIN.trainer.batch_tokens)
        arm = replace(CHAIN, objective=HINGE, trainer=trainer)
        splits = arm.task.load()
        found: dict[str, list[tuple[list[float], list[float]]]] = {"train": [], "dev": []}
        for seed in SEEDS:
            run = runs.get(arm, seed)
            network = run.model.double()
            for split, examples in (("train", splits.train[:WORDS]), ("dev", splits.dev)):
                found[split].append(bounds(network, TrainingData.of(examples, run.codec)))
        for split, pairs in found.items():
            curves[split]["hinge"].append([float(np.mean(hinges)) for hinges, _ in pairs])
            curves[split]["wrong"].append([float(np.mean(wrong)) for _, wrong in pairs])
            broken = sum(h < w - ROUNDING for hinges, wrong in pairs for h, w in zip(hinges, wrong, strict=True))
            curves[split]["broken"].append(broken)
    return curves


def answer_margin(results: Results) -> Answer:
    """By words below the bound, then by how loose it is on dev."""
    broken = sum(sum(curve["broken"]) for curve in results.values())
    dev = results["dev"]
    hinge, wrong = (np.mean(dev[name], axis=1) for name in ("hinge", "wrong"))
    loose = hinge / wrong
    ratios = ", ".join(f"{ratio:.2f}" for ratio in loose)
    middle = BUDGETS.index(4)
    rise = "" if hinge[-1] > hinge[middle] else ", where a rise was expected"
    return Answer(
        verdict(shown=bool(loose.min() >= 1.5), refuted=broken > 0),
        f"The hinge is below the number of wrong letters for {broken} words. On dev it is {ratios} times the wrong "
        f"letters after 1, 2, 4, 8 and 16 epochs. From 4 to 16 epochs the hinge on dev goes from {hinge[middle]:.2f} "
        f"to {hinge[-1]:.2f} nats a word{rise}; the wrong letters go from {wrong[middle]:.2f} to {wrong[-1]:.2f}.",
    )


def draw_margin(results: Results) -> str:
    """Both against epochs, a split a panel."""
    with plain_figure((7.4, 3.3), "claims margin") as figure:
        for axes, (split, curve) in zip(figure.subplots(1, 2), results.items(), strict=True):
            style(axes)
            axes.grid(color=GRID, linewidth=0.6)
            shown = {"hinge": "hinge, nats a word", "wrong": "wrong letters a word"}
            for name, look in looks(list(shown)).items():
                means = np.mean(curve[name], axis=1)
                axes.plot(BUDGETS, means, color=look.colour, linestyle=look.style, marker="o", label=shown[name])
            axes.set_xscale("log")
            axes.set_xticks(BUDGETS, [str(each) for each in BUDGETS])
            axes.set_xticks([], minor=True)
            axes.set_ylim(bottom=0)
            axes.set_xlabel("epochs of training")
            axes.set_title("500 words of training" if split == "train" else "dev", fontsize=9)
            axes.legend(frameon=False)
        return standalone(svg(figure))


# --------------------------------------------------------------------------------------------------- sparse rewards


def exact_match(output: list[int], reference: list[int]) -> float:
    """1 for the reference, 0 for everything else."""
    return float(output == reference)


VARIANTS = replace(
    SEQ2SEQ,
    task=SpellingVariants(size=500, held_out=250, shortest=3, longest=5),
    model=Seq2Seq(embedding=32, hidden=64),
    trainer=Trainer(epochs=10, batch_tokens=256),
)
LIKELIHOOD_FIRST = replace(VARIANTS, trainer=Trainer(epochs=3, batch_tokens=256))
STARTS = {
    "from random weights": replace(VARIANTS, optimiser=Adam(lr=3e-3)),
    "after likelihood": replace(
        VARIANTS, start=LIKELIHOOD_FIRST, optimiser=Adam(lr=1e-3), trainer=Trainer(epochs=7, batch_tokens=256)
    ),
}
"""Learning rates as in the main job, for arms that learn from their own outputs."""
REWARDS = {"exact match": FunctionReward(function=exact_match), "edit distance": EditDistance()}  # type: ignore[arg-type]


def sparse_arms() -> dict[str, Experiment]:
    """Both rewards and objectives from both starts, named ``objective, reward, start``."""
    made: dict[str, Experiment] = {"ML": VARIANTS}
    for start, base in STARTS.items():
        for named, reward in REWARDS.items():
            objectives: dict[str, Objective] = {
                "REINFORCE": REINFORCE(reward=reward, samples=K),
                "minimum risk": MinimumRisk(reward=reward, candidates=Samples(k=K, reference="left out")),
            }
            for name, objective in objectives.items():
                made[f"{name}, {named}, {start}"] = replace(base, objective=objective)
    return made


def measure_sparse(runs: Runs) -> Results:
    """Scores on test, and the share of examples whose draws all have one reward, by epoch."""
    found = {}
    for name, arm in sparse_arms().items():
        finished = [runs.get(arm, seed).result for seed in SEEDS]
        ties = [[epoch.diagnostics.get("zero_variance", 0.0) for epoch in each.history] for each in finished]
        found[name] = {metric: [each.scores["test"][metric] for each in finished] for metric in ("WER", "SER")}
        found[name]["ties"] = np.mean(ties, axis=0).tolist()
    task = VARIANTS.task
    assert isinstance(task, SpellingVariants), "above"
    sources = [spelt(example.source) for example in task.load().test]
    starts = [runs.get(LIKELIHOOD_FIRST, seed).result.scores["test"]["WER"] for seed in SEEDS]
    return {"arms": found, "start": starts, "best WER": task.optimum(sources)}


def answer_sparse(results: Results) -> Answer:
    """By exact match from random weights."""
    arms = results["arms"]

    def mean(objective: str, reward: str, start: str, metric: str) -> float:
        return float(np.mean(arms[f"{objective}, {reward}, {start}"][metric]))

    both, cold, warm = ("REINFORCE", "minimum risk"), *STARTS
    wrong = {name: mean(name, "exact match", cold, "WER") for name in both}
    gains = {name: mean(name, "exact match", cold, "SER") - mean(name, "edit distance", cold, "SER") for name in both}
    stalled = min(wrong.values()) >= 90 and max(gains.values()) >= 10

    def pair(values: dict[str, float]) -> str:
        return " and ".join(f"{value:.1f}" for value in values.values())

    ties = {name: 100 * arms[f"{name}, exact match, {cold}"]["ties"][0] for name in both}
    dense = {name: 100 * arms[f"{name}, edit distance, {cold}"]["ties"][0] for name in both}
    apart = {name: mean(name, "exact match", warm, "WER") - mean(name, "edit distance", warm, "WER") for name in both}
    return Answer(
        verdict(shown=stalled, refuted=min(wrong.values()) < 50),
        f"REINFORCE and minimum risk from random weights end with {pair(wrong)} % of outputs wrong under exact match; "
        f"their symbol errors there are {pair(gains)} points above those under the edit distance. In the first epoch "
        f"all draws have the same reward for {pair(ties)} % of examples under exact match and for {pair(dense)} % "
        f"under the edit distance. After likelihood, wrong outputs under exact match are {pair(apart)} points above "
        f"those under the edit distance; their start is wrong for {np.mean(results['start']):.1f} %. "
        f"Ten epochs of likelihood are wrong for {np.mean(arms['ML']['WER']):.1f} %; "
        f"no model can be below {results['best WER']:.1f} %.",
    )


def draw_sparse(results: Results) -> str:
    """Symbol errors of every arm, and the share of examples whose draws all have one reward."""
    arms = results["arms"]
    with plain_figure((8.6, 3.8), "claims sparse") as figure:
        left, right = figure.subplots(1, 2)
        for axes in (left, right):
            style(axes)
            axes.grid(axis="y", color=GRID, linewidth=0.6)
        colours = dict(zip(REWARDS, ("#2f7bd6", "#c8641b"), strict=True))
        places = []
        for place, (start, objective) in enumerate((s, o) for s in STARTS for o in ("REINFORCE", "minimum risk")):
            places.append(f"{objective}\n{start}")
            for shift, (reward, colour) in zip((-0.12, 0.12), colours.items(), strict=True):
                draw_estimate(left, place + shift, arms[f"{objective}, {reward}, {start}"]["SER"], colour)
        left.axhline(float(np.mean(arms["ML"]["SER"])), color="#8268cf", linewidth=1, label="likelihood")
        left.legend(frameon=False, fontsize=8, loc="center")
        left.set_ylim(bottom=0)
        left.set_xticks(range(len(places)), places, fontsize=6)
        left.set_ylabel("symbol errors on test, %")
        for reward, colour in colours.items():
            for objective, line in (("REINFORCE", "-"), ("minimum risk", "--")):
                ties = arms[f"{objective}, {reward}, from random weights"]["ties"]
                label = f"{objective}, {reward}"
                right.plot(range(1, len(ties) + 1), 100 * np.array(ties), line, color=colour, label=label)
        right.set_ylim(0, 104)
        right.set_xlabel("epoch, from random weights")
        right.set_ylabel("examples whose draws tie, %")
        right.legend(frameon=False, fontsize=8, loc="center")
        return standalone(svg(figure))


# --------------------------------------------------------------------------------------------------- partial credit

MAIN_JOB = Path(__file__).resolve().parents[1] / "records" / "five_objectives" / "results.json"
PAIRS = {
    "tagger": ("tagging", "tagger RML", "tagger ML"),
    "CRF": ("tagging", "CRF RML", "CRF ML"),
    "encoder-decoder": ("pronunciation", "RML edit distance", "ML"),
}
"""The panel of the main job, its arm under RML and the one under likelihood."""


def sizes(task: Task) -> tuple[int, int]:
    """Reference labels and examples of test."""
    test = task.load().test
    return sum(len(example.references[0]) for example in test), len(test)


def wrong_per_wrong_word(scores: dict[str, float], labels: int, words: int) -> float:
    """All wrong labels are in wrong words.

    >>> wrong_per_wrong_word({"ACC": 90.0, "WER": 50.0}, labels=100, words=10)
    2.0
    """
    rate = 100 - scores["ACC"] if "ACC" in scores else scores["PER"]
    return (rate * labels) / (scores["WER"] * words)


def ratios(runs: Sequence[dict[str, Any]], task: Task) -> list[float]:
    """`wrong_per_wrong_word` of every seed."""
    labels, words = sizes(task)
    return [wrong_per_wrong_word(run["scores"]["test"], labels, words) for run in runs]


def measure_partial(runs: Runs) -> Results:
    """From the main job's record; nothing is trained."""
    del runs
    if not MAIN_JOB.exists():
        raise AbsentError(f"{MAIN_JOB} is not there: records are in the repository, not in the installed package")
    panels = json.loads(MAIN_JOB.read_text(encoding="utf-8"))["panels"]
    tasks = {"tagging": TAGGER.task, "pronunciation": SEQ2SEQ.task}
    return {
        name: {way: ratios(panels[panel]["runs"][arm], tasks[panel]) for way, arm in (("RML", rml), ("ML", ml))}
        for name, (panel, rml, ml) in PAIRS.items()
    }


def answer_partial(results: Results) -> Answer:
    """By the intervals of all three models."""
    found = {name: Interval.of(pair["RML"], pair["ML"]) for name, pair in results.items()}
    decided = verdict(
        shown=all(each.below_zero for each in found.values()), refuted=any(each.above_zero for each in found.values())
    )
    told = "; ".join(
        f"{name} {np.mean(pair['RML']):.3f} under RML, {np.mean(pair['ML']):.3f} under likelihood, difference "
        f"{found[name].mean:+.3f} ± {found[name].half_width:.3f}"
        for name, pair in results.items()
    )
    return Answer(decided, f"Wrong labels per wrong word: {told}.")


def draw_partial(results: Results) -> str:
    """A dot a seed, RML beside likelihood."""
    with plain_figure((5.6, 3.3), "claims partial credit") as figure:
        axes = figure.add_subplot()
        style(axes)
        axes.grid(axis="y", color=GRID, linewidth=0.6)
        for place, pair in enumerate(results.values()):
            for shift, (way, colour) in zip((-0.12, 0.12), {"ML": "#2f7bd6", "RML": "#c8641b"}.items(), strict=True):
                draw_estimate(axes, place + shift, pair[way], colour)
        for way, colour in (("likelihood", "#2f7bd6"), ("RML", "#c8641b")):
            axes.plot([], [], "o", color=colour, label=way)
        axes.set_xticks(range(len(results)), list(results))
        axes.set_ylabel("wrong labels per wrong word")
        axes.legend(frameon=False)
        return standalone(svg(figure))


MARGIN = Claim(measure_margin, answer_margin, draw_margin)
SPARSE = Claim(measure_sparse, answer_sparse, draw_sparse)
PARTIAL = Claim(measure_partial, answer_partial, draw_partial)
