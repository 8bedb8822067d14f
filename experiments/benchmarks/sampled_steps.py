"""What do objectives that sample from the model cost a step, from a warm start, relative to maximum likelihood?

Run with ``STRUCTPRED_DATA`` set to the folder that holds ``multi30k/tok``. A model that translates captions is trained
for an epoch, four minutes on one processor, because an untrained one seldom ends its outputs; ``--start FILE`` keeps
its weights. All arms start every turn from them and take turns at every step, drawing counted in. Figures are
CPU-seconds per example relative to maximum likelihood; an example has several samples. They depend on how long these
are, so that there is also the cost of a sampled symbol relative to a symbol of a reference, ends included.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from structpred.cli.arguments import Parser
from structpred.experiments.benchmarks.captions import MODEL, captions, some
from structpred.experiments.benchmarks.measuring import Figures, Median, Stopwatch, standalone
from structpred.experiments.benchmarks.objective_steps import BATCH_TOKENS, CANDIDATES, OBJECTIVES
from structpred.experiments.benchmarks.rml_step import Arm, tokens_scored, turn
from structpred.files import file_to_write
from structpred.objectives import MaximumLikelihood
from structpred.task import Splits

LEARNING_RATE = 2e-3
"""Of the warm start, as in the recorded experiment on captions."""
SENTENCES, TURNS = 64, 6
SAMPLING = (f"reinforce_{CANDIDATES}", f"minimum_risk_{CANDIDATES}")
LIMIT = 6.0
"""What a step may cost, in steps of maximum likelihood."""

Weights = Mapping[str, torch.Tensor]


def warm_start(splits: Splits, kept: Path | None) -> Weights:
    """The weights after one epoch of maximum likelihood; read from a file if it is there, and else written to it."""
    if kept is not None and kept.exists():
        known: Weights = torch.load(kept, weights_only=True)
        return known
    arm = Arm(MaximumLikelihood(), some(splits, len(splits.train)), MODEL, BATCH_TOKENS)
    for group in arm.optimizer.param_groups:
        group["lr"] = LEARNING_RATE
    plan = arm.plan(0)
    for position in range(len(plan)):
        arm.train(plan[position])
    weights = {name: weight.clone() for name, weight in arm.step.model.state_dict().items()}
    if kept is not None:
        torch.save(weights, kept)
    return weights


@torch.no_grad()
def lengths(arm: Arm) -> tuple[float, float]:
    """Symbols of a reference and of a sample, ends included, on average over an epoch."""
    plan, generator, drawn, examples = arm.plan(0), torch.Generator().manual_seed(0), 0, 0
    for position in range(len(plan)):
        outputs = arm.step.model(plan[position].inputs).sample(CANDIDATES, generator)
        drawn, examples = drawn + int((outputs.lengths + 1).sum()), examples + outputs.lengths.numel()
    return CANDIDATES * tokens_scored(plan) / examples, drawn / examples


def ratio(spent: Sequence[Mapping[str, Stopwatch]], name: str) -> Median:
    """Of the CPU-seconds of the same references in the same turn."""
    return Median.of([each[name].cpu / each["ml"].cpu for each in spent])


def main() -> Figures:
    """Train, then time passes over the sentences after one that is thrown away."""
    options = Parser("python -m structpred.experiments.benchmarks.sampled_steps", (__doc__ or "").partition("\n")[0])
    options.add_argument("--start", type=Path, help="file of the warm start; trained and written where it is missing")
    kept, splits = options.read().start, captions()
    if kept is not None:
        file_to_write(kept)
    torch.set_flush_denormal(True)
    weights, data = warm_start(splits, kept), some(splits, SENTENCES)
    arms = {name: Arm(OBJECTIVES[name], data, MODEL, BATCH_TOKENS) for name in ("ml", *SAMPLING)}
    spent = []
    for _ in range(TURNS + 1):
        for arm in arms.values():
            arm.step.model.load_state_dict(weights)
        spent.append(turn(arms, 0))
    arms["ml"].step.model.load_state_dict(weights)
    reference, sample = lengths(arms["ml"])
    figures: Figures = {"sentences": SENTENCES, "labels": data.sizes.num_labels, "limit": LIMIT}
    figures |= {"symbols_of_a_reference": reference, "symbols_of_a_sample": sample}
    for name in SAMPLING:
        found = ratio(spent[1:], name)
        figures |= found.figures(f"{name}_per_example")
        figures[f"{name}_per_sampled_symbol"] = found.value * reference / (CANDIDATES * sample)
    return figures


if __name__ == "__main__":
    standalone(main)
