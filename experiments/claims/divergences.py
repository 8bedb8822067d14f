"""Forward and backward KL by enumeration: one optimum, other gradients off it, other compromises between references."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from structpred.distributions import Factorised
from structpred.experiments.claims.base import Answer, Claim, Results, Runs, verdict
from structpred.objective import Objective
from structpred.objectives import RML, Divergence, Exact, ExpectedReward
from structpred.payoffs import HammingPayoff, Temperature
from structpred.report.drawing import GRID, log_axis, looks, plain_figure, standalone, style, svg
from structpred.rewards import Hamming
from structpred.sequences import Sequences
from structpred.testing.spaces import as_candidates, strings

LABELS, LENGTH, STARTS = 3, 2, 10
TAUS = (0.3, 1.0)
ONE = Sequences.of([[0, 1]])
TWO = Sequences.of([[0, 0], [1, 2]])
"""One reference, and two for the same input."""
EVERY = as_candidates(strings(LABELS, LENGTH, shortest=LENGTH))
CLOSE = 1e-4
STEPS = 2000
PLACES = [0.25 * step for step in range(-20, 81)]
"""How many nats a wrong output's labels have above their score in q."""


def payoff(tau: float) -> HammingPayoff:
    """q at a literal temperature."""
    return HammingPayoff(temperature=Temperature(literal=tau))


def objectives(tau: float) -> dict[str, Objective]:
    """KL(q‖p), τ KL(p‖q), and the middle of the dial between them, up to constants."""
    return {
        "RML": RML(payoff=payoff(tau), estimator=Exact()),
        "expected reward": ExpectedReward(reward=Hamming(), temperature=tau),
        "divergence, α = 0.5": Divergence(alpha=0.5, payoff=payoff(tau), estimator=Exact()),
    }


def factorised(scores: Tensor, batch: int = 1) -> Factorised:
    """p with these scores, the same for every example."""
    return Factorised(scores.expand(batch, -1, -1), torch.full((batch,), LENGTH))


def minimised(objective: Objective, targets: Sequences, start: Tensor) -> Float[Tensor, "time labels"]:
    """The scores at which the mean loss over the targets is least, by L-BFGS."""
    scores = start.clone().requires_grad_()
    method = torch.optim.LBFGS(
        [scores], max_iter=2000, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        value = objective(factorised(scores, len(targets)), targets).values.mean()
        (scores.grad,) = torch.autograd.grad(value, scores)
        return value

    method.step(loss)  # type: ignore[no-untyped-call]
    return scores.detach()


def from_starts(tau: float, method: Callable[[Objective, Tensor], Tensor]) -> dict[str, list[float]]:
    """max |p − q| over all outputs after training from each start, by objective.

    Args:
        tau: the literal temperature.
        method: from the objective and all starts ``[starts, time, labels]`` to the scores that training ends with.
    """
    q = payoff(tau).distribution(ONE, LABELS).log_prob(EVERY).exp()
    generator = torch.Generator().manual_seed(0)
    starts = 3 * torch.randn(STARTS, LENGTH, LABELS, generator=generator, dtype=torch.float64)
    return {
        name: [(factorised(end).log_prob(EVERY).exp() - q).abs().max().item() for end in method(objective, starts)]
        for name, objective in objectives(tau).items()
    }


def by_curvature(objective: Objective, starts: Tensor) -> Tensor:
    """Train from each start by L-BFGS, whose steps may be long."""
    return torch.stack([minimised(objective, ONE, start) for start in starts])


def by_small_steps(objective: Objective, starts: Tensor) -> Tensor:
    """Train from all starts at once by Adam, whose steps do not shrink with the gradient; a cosine ends it well."""
    scores = starts.clone().requires_grad_()
    method = torch.optim.Adam([scores], lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(method, STEPS)
    targets = ONE.select(torch.zeros(len(starts), dtype=torch.long))
    lengths = torch.full((len(starts),), LENGTH)
    for _ in range(STEPS):
        (scores.grad,) = torch.autograd.grad(objective(Factorised(scores, lengths), targets).values.sum(), scores)
        method.step()
        schedule.step()
    return scores.detach()


def along(tau: float) -> dict[str, list[float]]:
    """From q towards a wrong output: both KLs, how long their gradients in the scores are, and p of that output."""
    q = payoff(tau).distribution(ONE, LABELS)
    log_q, wrong = q.log_prob(EVERY)[0], torch.tensor([1, 0])
    found: dict[str, list[float]] = {
        name: [] for name in ("forward", "backward", "forward slope", "backward slope", "p")
    }
    for place in PLACES:
        scores = q.local_log_prob().unary[0].clone()
        scores[torch.arange(LENGTH), wrong] += place
        scores.requires_grad_()
        log_p = factorised(scores).log_prob(EVERY)[0]
        for name, value in (
            ("forward", (log_q.exp() * (log_q - log_p)).sum()),
            ("backward", (log_p.exp() * (log_p - log_q)).sum()),
        ):
            (slope,) = torch.autograd.grad(value, scores, retain_graph=True)
            found[name].append(value.item())
            found[f"{name} slope"].append(slope.norm().item())
        found["p"].append(factorised(scores).log_prob(Sequences.of([wrong.tolist()]).candidates()).exp().item())
    return found


def compromises(tau: float) -> dict[str, dict[str, list[float]]]:
    """p of every label with two references: where each objective ends, and the mean that is predicted."""
    marginals = payoff(tau).distribution(TWO, LABELS).marginals()
    start = torch.zeros(LENGTH, LABELS, dtype=torch.float64)
    predicted = {"RML": marginals.mean(0), "expected reward": marginals.log().mean(0).softmax(-1)}
    return {
        name: {
            "reached": minimised(objectives(tau)[name], TWO, start).softmax(-1).flatten().tolist(),
            "predicted": mean.flatten().tolist(),
        }
        for name, mean in predicted.items()
    }


def measure(runs: Runs) -> Results:
    """Measure all three parts at both temperatures; there are no data."""
    del runs
    return {
        f"{tau:g}": {
            "distances": from_starts(tau, by_curvature),
            "small steps": from_starts(tau, by_small_steps),
            "along": along(tau),
            "two": compromises(tau),
        }
        for tau in TAUS
    }


def least_ratio(found: Results) -> float:
    """Length of RML's gradient over that of the expected reward, the smallest where p(wrong) exceeds 0.999."""
    along = found["along"]
    pairs = zip(along["forward slope"], along["backward slope"], along["p"], strict=True)
    return min(float(forward / backward) for forward, backward, p in pairs if p > 0.999)


def answer(results: Results) -> Answer:
    """By distances from q, then slopes and compromises."""
    parts = results.values()
    farthest = farthest_of(results, "distances")
    ratio = min(map(least_ratio, parts))
    off = max(
        abs(one - other)
        for part in parts
        for found in part["two"].values()
        for one, other in zip(found["reached"], found["predicted"], strict=True)
    )
    two = results["1"]["two"]
    least = {name: found["reached"][2] for name, found in two.items()}
    astray = sum(each > CLOSE for part in parts for found in part["distances"].values() for each in found)
    runs = sum(len(found) for part in parts for found in part["distances"].values())
    ends = f"By L-BFGS all {runs} trainings end within {farthest:.1g} of q."
    if astray:
        ends = (
            f"By the letter of (1): with L-BFGS {astray} of {runs} trainings end up to {farthest:.1g} away from q, "
            "on a plateau that a long step has led to. The criterion was wrong to leave the optimiser open. With "
            f"small steps, added after this was seen, all end within {farthest_of(results, 'small steps'):.1g} of q, "
            "so the optimum is shared."
        )
    return Answer(
        verdict(shown=ratio > 10 and off <= CLOSE, refuted=farthest > CLOSE),
        f"{ends} Where p gives more than 0.999 to a wrong output, RML's gradient is at least {ratio:.0f} times as "
        f"long. With two references the optima are the two means within {off:.1g}: at τ = 1 the label that neither "
        f"reference has at the first position gets {100 * least['RML']:.1f} % under RML and "
        f"{100 * least['expected reward']:.1f} % under the expected reward.",
    )


def farthest_of(results: Results, way: str) -> float:
    """The largest distance from q at which any training ended."""
    return max(float(each) for part in results.values() for found in part[way].values() for each in found)


def picture(results: Results) -> str:
    """At τ = 1: both KLs and their slopes towards a wrong output, and the compromise between two references."""
    along, two = results["1"]["along"], results["1"]["two"]
    names = {"forward": "KL(q‖p), RML", "backward": "KL(p‖q), expected reward"}
    seen = looks(list(names))
    with plain_figure((9.3, 3.2), "claims divergences") as figure:
        left, middle, right = figure.subplots(1, 3)
        for axes in (left, middle, right):
            style(axes)
            axes.grid(color=GRID, linewidth=0.6)
        for name, shown in names.items():
            look = seen[name]
            left.plot(PLACES, along[name], color=look.colour, linestyle=look.style, label=shown)
            slopes = [slope if slope > 1e-12 else float("nan") for slope in along[f"{name} slope"]]
            middle.plot(PLACES, slopes, color=look.colour, linestyle=look.style)
        figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
        left.set_ylabel("nats")
        middle.set_yscale("log")
        log_axis(middle.yaxis, (1,))
        middle.set_ylabel("length of the gradient")
        for axes in (left, middle):
            axes.set_xlabel("nats from q to a wrong output")
        for shift, (name, look) in zip((-0.1, 0.1), seen.items(), strict=True):
            reached = two["RML" if name == "forward" else "expected reward"]["reached"][:LABELS]
            right.plot([label + shift for label in range(LABELS)], reached, "o", color=look.colour)
        right.set_xticks(range(LABELS), ["of one", "of the other", "of neither"], fontsize=8)
        right.set_ylim(0, 0.6)
        right.set_xlabel("label of which reference")
        right.set_ylabel("p at the optimum")
        return standalone(svg(figure))


DIVERGENCES = Claim(measure, answer, picture)
