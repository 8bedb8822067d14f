"""Noise on targets against noise on inputs: RML, SwitchOut and adversarial training, alone and together."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from structpred.experiment import Experiment
from structpred.experiments.claims.base import Answer, Claim, Interval, Results, Runs, verdict
from structpred.experiments.five_objectives import TAGGER
from structpred.objective import Objective
from structpred.objectives import RML, Adversarial, MaximumLikelihood, Sampled, SwitchOut
from structpred.payoffs import HammingPayoff, Temperature
from structpred.report.drawing import GRID, looks, plain_figure, standalone, style, svg
from structpred.tasks import LetterTagging
from structpred.training import Trainer

SEEDS, TUNING_SEED = range(3), 100
SIZES = {100: 32, 400: 16, 1600: 8}
"""Epochs by words of training."""
MIDDLE = 400
EDIT_RATES, SWITCH_RATES, EPSILONS = (0.01, 0.02, 0.05, 0.1), (0.01, 0.02, 0.05, 0.1), (0.1, 0.3, 1.0, 3.0)
NO_NOISE = HammingPayoff(temperature=Temperature(literal=1e-3))
"""Draws nothing but the reference."""


def around(rate: float) -> HammingPayoff:
    """q at an edit rate."""
    return HammingPayoff(temperature=Temperature(edit_rate=rate))


def rml(rate: float) -> Objective:
    """One draw an example, as SwitchOut has."""
    return RML(payoff=around(rate), estimator=Sampled(k=1))


def switched(rate: float, target: HammingPayoff = NO_NOISE) -> Objective:
    """Noise on inputs, and on targets where a payoff is given."""
    return SwitchOut(source=Temperature(edit_rate=rate), target=target)


def shifted(epsilon: float, objective: Objective | None = None) -> Objective:
    """Adversarial training, of likelihood by default."""
    return Adversarial(objective=objective or MaximumLikelihood(), epsilon=epsilon)


def sized(size: int, objective: Objective) -> Experiment:
    """The tagger on so many words."""
    trainer = Trainer(epochs=SIZES[size], batch_tokens=TAGGER.trainer.batch_tokens)
    return replace(TAGGER, task=LetterTagging(size=size, held_out=500), objective=objective, trainer=trainer)


TUNED: dict[str, tuple[tuple[float, ...], Callable[[float], Objective]]] = {
    "RML": (EDIT_RATES, rml),
    "SwitchOut": (SWITCH_RATES, switched),
    "adversarial": (EPSILONS, shifted),
}
"""The number that each kind of noise takes, alone, and its values."""


def tuned(runs: Runs) -> dict[str, float]:
    """For each kind of noise the value with the best accuracy on dev, from one run each at the middle size."""
    found = {}
    for name, (values, made) in TUNED.items():
        scores = [runs.get(sized(MIDDLE, made(value)), TUNING_SEED).result.scores["dev"]["ACC"] for value in values]
        found[name] = values[int(np.argmax(scores))]
    return found


def arms(chosen: dict[str, float]) -> dict[str, Objective]:
    """Noise on targets, on inputs, and both."""
    edits, swaps, epsilon = (chosen[name] for name in TUNED)
    return {
        "likelihood": MaximumLikelihood(),
        "RML": rml(edits),
        "SwitchOut": switched(swaps),
        "adversarial": shifted(epsilon),
        "RML + SwitchOut": switched(swaps, around(edits)),
        "RML + adversarial": shifted(epsilon, rml(edits)),
    }


def measure(runs: Runs) -> Results:
    """Accuracy on test by size and arm, a value a seed."""
    chosen = tuned(runs)
    scores = {
        str(size): {
            name: [runs.get(sized(size, objective), seed).result.scores["test"]["ACC"] for seed in SEEDS]
            for name, objective in arms(chosen).items()
        }
        for size in SIZES
    }
    return {"chosen": chosen, "scores": scores}


def gains(results: Results, name: str) -> dict[int, Interval]:
    """Points of accuracy above likelihood by size."""
    scores = results["scores"]
    return {int(size): Interval.of(found[name], found["likelihood"]) for size, found in scores.items()}


def answer(results: Results) -> Answer:
    """By what noise on targets gains with the fewest words, alone and on top of the better noise on inputs."""
    least = min(SIZES)
    alone = gains(results, "RML")[least]
    found = results["scores"][str(least)]
    better = max(("SwitchOut", "adversarial"), key=lambda name: float(np.mean(found[name])))
    on_top = Interval.of(found[f"RML + {better}"], found[better])
    told = "; ".join(
        f"{name} {', '.join(str(each) for each in gains(results, name).values())}"
        for name in next(iter(results["scores"].values()))
        if name != "likelihood"
    )
    base = ", ".join(f"{np.mean(each['likelihood']):.2f}" for each in results["scores"].values())
    chosen = ", ".join(f"{value:g} ({name})" for name, value in results["chosen"].items())
    return Answer(
        verdict(shown=alone.above_zero and on_top.above_zero, refuted=alone.below_zero),
        f"Points of accuracy on test above likelihood's {base} % with {', '.join(map(str, SIZES))} words: {told}. With "
        f"{least} words RML on top of {better}, the better of the two on inputs, adds {on_top}. Values chosen on dev: "
        f"{chosen}.",
    )


def picture(results: Results) -> str:
    """Gain over likelihood against words of training, an arm a line."""
    with plain_figure((6.6, 3.8), "claims augmentation") as figure:
        axes = figure.add_subplot()
        style(axes)
        axes.grid(color=GRID, linewidth=0.6)
        names = [name for name in next(iter(results["scores"].values())) if name != "likelihood"]
        for shift, (name, look) in enumerate(looks(names).items()):
            found = gains(results, name)
            places = [size * 1.03 ** (shift - 2) for size in found]  # side by side, so that intervals can be told apart
            axes.errorbar(
                places,
                [each.mean for each in found.values()],
                [each.half_width for each in found.values()],
                color=look.colour,
                linestyle=look.style,
                marker="o",
                markersize=3,
                linewidth=1,
                elinewidth=0.7,
                label=name,
            )
        axes.axhline(0, color="grey", linewidth=1, label="likelihood")
        axes.set_xscale("log")
        axes.set_xticks(list(SIZES), [str(size) for size in SIZES])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("words of training")
        axes.set_ylabel("accuracy on test above likelihood, points")
        figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8)
        return standalone(svg(figure))


AUGMENTATION = Claim(measure, answer, picture)
