"""Do agents of another library learn to tag as well as our objectives do, and what does each of them cost?

Needs the extra ``rl``; data are drawn, so nothing is downloaded. It can be stopped at any time and resumes, and more
seeds add to what is there::

    python -m structpred.experiments.outside_agents

MaskablePPO of sb3-contrib and A2C of stable-baselines3 act in the environment of the task `HiddenMarkov`, and are paid
the Hamming distance position by position. Beside them, on the same task and its splits, stand our REINFORCE (with the
whole output's reward, and with each label's own), minimum risk, RML in closed form and likelihood. All read the source
by a bidirectional LSTM of the same size (`SourceReader`, `LSTMTagger`); an agent also sees the label that it wrote
last, and has a value network.

The budget of every arm is the same number of labels, 253,584, written by itself or read from a reference: 36 epochs
over the training data for those that read one output per example, 12 for those that write K = 3, and as many steps of
the environment for agents, up to their next rollout. Three costs are counted: these labels; outputs that the reward
scored; and CPU-seconds of training and evaluation together. All arms keep the weights that were best on dev: ours are
evaluated after each epoch, agents after every 8192 steps, both by the most probable label. Of ours, the CPU-seconds of
a run are shared out over its epochs by wall-clock time.

One rule chose the settings of every arm: one number, four values each twice the one before, one run each under seed
100, which is not compared; the best accuracy on dev decides, on a tie the smaller value. The number is RML's edit rate
(at the learning rate 0.01), and the learning rate for all others. All else was fixed beforehand. Agents have the
defaults of their library, but no discount, so that they maximise what our objectives do; 64 episodes side by side;
rollouts of 32 steps, batches of 256 and 4 epochs for PPO, and rollouts of 8 steps for A2C. These were not chosen blind:
three trials of PPO and one of A2C under seed 100 were looked at on dev before.

Scores are accuracies on test, and the share of the gap between copying the input and the best possible decision (the
most probable state at each position) that they close, both measured on the same test examples.

Expected before the runs: MaskablePPO closes at least 60 % of the gap, within two points of accuracy of likelihood, at
more than ten times likelihood's CPU-seconds; A2C closes less than PPO; RML within half a point of likelihood; REINFORCE
is better with each label's own reward than with the whole output's, and no better than likelihood in either form.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from structpred.cli import as_command
from structpred.cli.arguments import Parser, few
from structpred.comparison.panels import Panel
from structpred.display import show_table
from structpred.experiments._agents import (
    EDIT_RATES,
    K,
    arms,
    circumstances,
    draw_curves,
    made_with,
    objectives_for,
    ours,
    outputs_of,
    rml,
    rows,
    table,
    tuned,
    write,
)
from structpred.files import folder_to_write
from structpred.report.drawing import plain_figure, standalone, svg
from structpred.rewards import Hamming
from structpred.tasks import HiddenMarkov

TASK = HiddenMarkov()
OBJECTIVES = objectives_for(Hamming())


def panels() -> dict[str, Panel]:
    """Our arms before tuning, as `structpred compare` takes them: those with equally many epochs together."""
    drawing = {name: ours(each) for name, each in OBJECTIVES.items() if outputs_of(each) == K}
    reading = {"ML": ours(OBJECTIVES["ML"]), "RML": ours(rml(EDIT_RATES[0]))}
    return {"own outputs": Panel(arms=drawing), "references": Panel(arms=reading)}


@cache
def references(split: str) -> dict[str, float]:
    """Accuracies in percent: of copying the input, of the best possible decision, and what is expected of that one."""
    examples = getattr(TASK.load(), split)
    sources, labels = [x.source for x in examples], [x.references[0] for x in examples]
    found = {"copying": [tuple(symbol.upper() for symbol in x) for x in sources], "best": list(map(TASK.best, sources))}
    total = sum(map(len, sources))
    right = {name: sum(map(agreeing, outputs, labels)) for name, outputs in found.items()}
    return {name: 100 * count / total for name, count in right.items()} | {"expected": TASK.optimum(sources)}


def agreeing(one: Sequence[str], other: Sequence[str]) -> int:
    """Positions with the same symbol."""
    return sum(a == b for a, b in zip(one, other, strict=True))


def gap_closed(test: float) -> float:
    """Percent of the way from copying to the best possible decision."""
    marks = references("test")
    return 100 * (test - marks["copying"]) / (marks["best"] - marks["copying"])


def compared(seeds: int, root: Path, console: Console) -> dict[str, Any]:
    """All that the report shows."""
    found = tuned(arms(), seeds, root, console)
    closed = {name: [gap_closed(each["scores"]["test"]) for each in runs] for name, runs in found["runs"].items()}
    return {
        "task": json.loads(TASK.to_json()),
        "references": {split: references(split) for split in ("dev", "test")},
        "seeds": list(range(seeds)),
        **found,
        "gap_closed": closed,
        **circumstances(),
    }


COLUMNS = ("arm", "dev", "test", "gap closed, %", "labels", "reward calls", "CPU-seconds", "parameters", "number")


def text(results: Mapping[str, Any]) -> str:
    """The report."""
    question = (__doc__ or "").partition("\n")[0]
    marks, lines = results["references"]["test"], []
    lines += [f"# {question}", "", f"Made by `structpred.experiments.outside_agents`; seeds {results['seeds']}.", ""]
    lines += [
        f"Test accuracy of copying the input: {marks['copying']:.2f}; of the best possible decision: "
        f"{marks['best']:.2f} on these examples, {marks['expected']:.2f} expected.",
        "",
    ]
    lines += [*table(COLUMNS, rows(results)), *table(TUNED, trials(results))]
    return "\n".join([*lines, *made_with(results), ""])


TUNED = ("arm", "number", "dev accuracy by value, seed 100")


def trials(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The table of tuning."""
    return [
        (name, results["arms"][name]["number"], ", ".join(f"{value}: {dev:.2f}" for value, dev in each.items()))
        for name, each in results["tuning"].items()
    ]


def picture(results: Mapping[str, Any]) -> str:
    """Accuracy on dev, averaged over seeds, against the three costs."""
    marks = {mark: results["references"]["dev"][mark] for mark in ("copying", "best")}
    with plain_figure((11.0, 4.2), "outside agents") as figure:
        drawn = figure.subplots(1, 3, sharey=True)
        draw_curves(drawn, results["runs"], marks, (marks["copying"] - 4, marks["best"] + 1))
        drawn[0].set_ylabel("accuracy on dev, %")
        figure.legend(*drawn[0].get_legend_handles_labels(), loc="outside lower center", ncols=7, frameon=False)
        return standalone(svg(figure))


def main() -> None:
    """Run what is missing, show and write."""
    options = Parser("python -m structpred.experiments.outside_agents", (__doc__ or "").partition("\n")[0])
    options.add_argument("--seeds", type=few, default=5, metavar="N", help="compare under seeds 0 to N - 1")
    options.add_argument("--root", type=Path, default=Path("runs"), help="the folder of run folders")
    options.add_argument("--report", type=Path, default=Path("reports/outside_agents"), help="where the report goes")
    given = options.read()
    folder_to_write(given.report)
    torch.set_num_threads(1)
    console = Console()
    results = compared(given.seeds, given.root, console)
    show_table(console, COLUMNS, rows(results))
    write(results, text(results), picture(results), given.report)


if __name__ == "__main__":
    sys.exit(as_command(main, exits=True))
