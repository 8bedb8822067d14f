"""The CPU-seconds of a training step under every objective on every model, relative to likelihood."""

import statistics
from dataclasses import dataclass, replace

from structpred.capabilities import combinations
from structpred.config import registered_name
from structpred.experiment import Experiment
from structpred.experiments.benchmarks.measuring import Stopwatch
from structpred.experiments.benchmarks.rml_step import Arm
from structpred.experiments.claims.base import Answer, Claim, Results, Runs, verdict
from structpred.experiments.five_objectives import CHAIN, SEQ2SEQ, TAGGER
from structpred.models import Transformer
from structpred.objective import Objective
from structpred.report.drawing import GRID, looks, plain_figure, standalone, style, svg
from structpred.training.data import EncodedData, TrainingData
from structpred.training.process import without_subnormals

EXAMPLES, TURNS = 48, 25
BASES = {
    "tagger": TAGGER,
    "CRF": CHAIN,
    "encoder-decoder": SEQ2SEQ,
    "Transformer": replace(
        SEQ2SEQ, model=Transformer(hidden=128, heads=4, feedforward=256, encoder_layers=2, decoder_layers=2)
    ),
}
"""The models of the main job on its tasks, and a Transformer of about the encoder-decoder's size."""
LIKELIHOOD = "maximum-likelihood"
REWARDS = ("hamming", "edit-distance")
"""The preferred one first, for models that take both."""


@dataclass(frozen=True)
class Timed:
    """An objective and what it is called in the table."""

    name: str
    objective: Objective


def timed(base: Experiment) -> list[Timed]:
    """Every objective that the model takes, exact and sampled, under one reward; none that reads another run."""
    kept: dict[str, tuple[int, Objective]] = {}
    for objective, model in combinations():
        if type(model) is not type(base.model) or objective.learns_from:
            continue
        rank = preference(objective)
        name = registered_name(objective) + (", sampled" if sampled_variant(objective) else "")
        if rank is not None and (name not in kept or rank < kept[name][0]):
            kept[name] = rank, objective
    return [Timed(name, objective) for name, (_, objective) in sorted(kept.items())]


def sampled_variant(objective: Objective) -> bool:
    """True where the registered objective has an exact variant as well, and this is the other."""
    return not objective.exact and any(example.exact for example in type(objective).examples())


def preference(objective: Objective) -> int | None:
    """The place of its reward in `REWARDS`, 0 without one; None for another reward."""
    config = (
        getattr(objective, "reward", None) or getattr(objective, "payoff", None) or getattr(objective, "target", None)
    )
    if config is None:
        return 0
    name = registered_name(config)
    return REWARDS.index(name) if name in REWARDS else None


def seconds(base: Experiment) -> dict[str, float]:
    """Median CPU-seconds of a step with its draws, by objective; arms take turns on one batch."""
    splits = base.task.load()
    prepared = EncodedData.of(replace(splits, train=splits.train[:EXAMPLES]), base.model)
    arms = {each.name: arm_of(each.objective, prepared.training, base) for each in timed(base)}
    spent: dict[str, list[float]] = {name: [] for name in arms}
    with without_subnormals():
        for turn in range(TURNS + 1):
            for name, arm in arms.items():
                watch = Stopwatch()
                with watch.running():
                    arm.train(arm.plan(turn)[0])
                spent[name].append(watch.cpu)
    return {name: statistics.median(each[1:]) for name, each in spent.items()}


def arm_of(objective: Objective, data: TrainingData, base: Experiment) -> Arm:
    """With a budget that takes all examples in one batch."""
    return Arm(objective, data, base.model, budget=10**6)


def measure(runs: Runs) -> Results:
    """Seconds by model and objective; the trained weights are thrown away."""
    del runs
    return {model: seconds(base) for model, base in BASES.items()}


def relative(results: Results) -> dict[str, dict[str, float]]:
    """To likelihood on the same model."""
    return {model: {name: each / found[LIKELIHOOD] for name, each in found.items()} for model, found in results.items()}


def answer(results: Results) -> Answer:
    """By RML on every model."""
    found = relative(results)
    rml = {model: {name: each for name, each in row.items() if name.startswith("rml")} for model, row in found.items()}
    worst = max(each for row in rml.values() for each in row.values())
    told = "; ".join(
        f"{model} {', '.join(f'{each:.2f} ({way(name)})' for name, each in row.items())}" for model, row in rml.items()
    )
    decoders = [found[model] for model in ("encoder-decoder", "Transformer")]
    drawing = [min(row[name] for row in decoders) for name in ("minimum-risk", "reinforce", "candidate-hinge")]
    margin = found["CRF"]["max-margin"]
    return Answer(
        verdict(shown=worst <= 1.25, refuted=worst >= 2),
        f"A step of RML takes, in steps of likelihood on the same model: {told}. The cheapest of minimum risk, "
        f"REINFORCE and the candidate hinge on the two decoders takes {min(drawing):.1f}; max-margin, with its "
        f"loss-augmented search, takes {margin:.2f} on the chain.",
    )


def way(name: str) -> str:
    """How RML is computed under a name of the table."""
    return "one draw" if name.endswith("sampled") else "exact"


def table(results: Results) -> str:
    """Markdown, a row an objective; empty where the model does not take it."""
    found = relative(results)
    names = sorted({name for row in found.values() for name in row})
    lines = [f"| objective | {' | '.join(found)} |", "| --- |" + " ---: |" * len(found)]
    for name in names:
        cells = (f"{row[name]:.2f}" if name in row else "" for row in found.values())
        lines.append(
            f"| `{name.partition(',')[0]}`{name.partition(',')[1]}{name.partition(',')[2]} | {' | '.join(cells)} |"
        )
    return "\n".join(lines)


def picture(results: Results) -> str:
    """A dot for every model, an objective a line, on a logarithmic axis."""
    found = relative(results)
    names = sorted({name for row in found.values() for name in row}, reverse=True)
    with plain_figure((7.0, 0.26 * len(names) + 1.0), "claims cost") as figure:
        axes = figure.add_subplot()
        style(axes)
        axes.grid(color=GRID, linewidth=0.6)
        for marker, (model, look) in zip("osD^", looks(list(found)).items(), strict=True):
            places = [place for place, name in enumerate(names) if name in found[model]]
            values = [found[model][names[place]] for place in places]
            axes.plot(values, places, marker, color=look.colour, markersize=5, label=model)
        axes.set_xscale("log")
        ticks = [0.5, 1, 2, 5, 10, 20]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.set_xlabel("CPU-seconds of a step, in steps of likelihood")
        axes.legend(frameon=False, fontsize=8, loc="lower right")
        return standalone(svg(figure))


COST = Claim(measure, answer, picture)
