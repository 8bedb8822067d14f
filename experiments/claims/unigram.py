"""RML whose substitutes are drawn by their frequency, beside unigram smoothing: by enumeration, and in training."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from structpred.experiments.claims.base import Answer, Claim, Interval, Results, Runs, verdict
from structpred.experiments.five_objectives import TAGGER
from structpred.models import LSTMTagger, Seq2Seq
from structpred.objective import Objective
from structpred.objectives import RML, LabelSmoothing, MaximumLikelihood, SelfNormalised
from structpred.objectives.label_smoothing import Frequencies
from structpred.payoffs import ReweightedPayoff, Temperature
from structpred.payoffs.base_measures import NGramReplacement, log_density, substitute_counts
from structpred.report.drawing import GRID, draw_estimate, plain_figure, standalone, style, svg
from structpred.rewards import ConstantReward
from structpred.sequences import Sequences
from structpred.testing.spaces import as_candidates, built, strings

SEEDS = range(3)
LABELS, CLOSE = 3, 1e-9
REFERENCES = Sequences.of([[0, 0], [0, 1], [0, 2]])
"""Of 6 labels, 4 are the first one."""
INPUTS = Sequences.of([[0, 1], [2, 2], [1, 0]])
MODELS = {
    "tagger": LSTMTagger(embedding=3, hidden=4, dropout=0.0),
    "encoder-decoder": Seq2Seq(embedding=3, hidden=4, dropout=0.0),
}
ONE_LABEL = NGramReplacement(longest=1, substitutes="unigram", density="kept")
"""One position of each reference, drawn uniformly, gets a label drawn by its frequency, which may be the same label."""


def replaced(k: int) -> Objective:
    """RML with draws of `ONE_LABEL`: under a reward that says nothing, all have the same weight."""
    payoff = ReweightedPayoff(reward=ConstantReward(), temperature=Temperature(literal=1.0), base=ONE_LABEL)
    return RML(payoff=payoff, estimator=SelfNormalised(k=k))


def gradients(loss: Tensor, network: nn.Module) -> Tensor:
    """With respect to all weights, in one row."""
    found = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
    return torch.cat([each.flatten() for each in found if each is not None])


def gap(name: str) -> float:
    """How far the gradient of the expected RML loss is from that of smoothing, as a share of the latter's length.

    The expectation is over all outputs as long as the references, of m = 2 labels, so ε is 1/2.
    """
    network = built(MODELS[name], LABELS)
    counts = substitute_counts(REFERENCES, LABELS, "unigram")
    every = as_candidates(strings(LABELS, 2, shortest=2), len(REFERENCES))
    changed = every.labels != REFERENCES.labels.unsqueeze(1)
    law = log_density(every, changed, counts.double().log() - counts.sum().double().log(), longest=1).exp()
    p = network(INPUTS)
    expected = -(law * p.log_prob(every)).sum()
    ends = torch.tensor([len(REFERENCES)])
    state = Frequencies(torch.cat([counts, ends]).double())
    smoothing = LabelSmoothing(epsilon=0.5, prior="unigram")
    other = gradients(smoothing(network(INPUTS), REFERENCES, state=state).values.sum(), network)
    return float((gradients(expected, network) - other).norm() / other.norm())


def rate() -> float:
    """References per label in training: the mean share of labels that are redrawn."""
    train = TAGGER.task.load().train
    return len(train) / sum(len(example.references[0]) for example in train)


def arms(epsilon: float) -> dict[str, Objective]:
    """What is trained."""
    return {
        "likelihood": MaximumLikelihood(),
        "uniform smoothing": LabelSmoothing(epsilon=epsilon),
        "unigram smoothing": LabelSmoothing(epsilon=epsilon, prior="unigram"),
        "RML, 2 draws": replaced(2),
        "RML, 8 draws": replaced(8),
    }


def measure(runs: Runs) -> Results:
    """Gaps of gradients, and accuracy on test, a value a seed."""
    epsilon = rate()
    scores = {
        name: [runs.get(replace(TAGGER, objective=objective), seed).result.scores["test"]["ACC"] for seed in SEEDS]
        for name, objective in arms(epsilon).items()
    }
    return {"gaps": {name: gap(name) for name in MODELS}, "epsilon": epsilon, "scores": scores}


def answer(results: Results) -> Answer:
    """By the gap on the tagger, then by accuracies."""
    gaps, scores = results["gaps"], results["scores"]
    smoothing = scores["unigram smoothing"]
    apart = {name: Interval.of(scores[name], smoothing) for name in ("RML, 2 draws", "RML, 8 draws")}
    eight = abs(apart["RML, 8 draws"].mean)
    others = ", ".join(f"{name} {np.mean(scores[name]):.2f}" for name in ("uniform smoothing", "likelihood"))
    return Answer(
        verdict(shown=gaps["tagger"] <= CLOSE and eight <= 0.3, refuted=gaps["tagger"] > CLOSE or eight > 1),
        f"By enumeration the gradients differ by {gaps['tagger']:.0e} of their length on the tagger and by "
        f"{100 * gaps['encoder-decoder']:.0f} % on the encoder-decoder. In training (ε = {results['epsilon']:.3f}), "
        f"accuracy on test is {np.mean(smoothing):.2f} % under unigram smoothing; RML's from two draws differs by "
        f"{apart['RML, 2 draws']} points, from eight by {apart['RML, 8 draws']}. Others: {others} %.",
    )


def picture(results: Results) -> str:
    """A dot a seed and arm."""
    with plain_figure((6.4, 3.3), "claims unigram") as figure:
        axes = figure.add_subplot()
        style(axes)
        axes.grid(axis="y", color=GRID, linewidth=0.6)
        scores = results["scores"]
        for place, (name, values) in enumerate(scores.items()):
            draw_estimate(axes, place, values, "#c8641b" if name.startswith("RML") else "#2f7bd6")
        axes.set_xticks(range(len(scores)), [name.replace(" smoothing", "\nsmoothing") for name in scores], fontsize=8)
        axes.set_ylabel("accuracy on test, %")
        return standalone(svg(figure))


UNIGRAM = Claim(measure, answer, picture)
