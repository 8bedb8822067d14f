"""Do agents of another library learn to spell and to sound out letters as well as our objectives do, and at what cost?

Needs the extra ``rl``; nothing is downloaded. It can be stopped at any time and resumes::

    python -m structpred.experiments.outside_agents_tasks

The agents and objectives of `structpred.experiments.outside_agents` on two tasks more, with the same networks, budgets
counted in the same way, and the same choice of weights on dev. `SpellingVariants` is transduction: the output's length
is free, our model is an encoder-decoder with attention, the reward is the edit distance, which agents are paid symbol
by symbol, and the score is 100 less the symbol error rate. An agent sees the source's encoding at the position that it
writes next, which there is the right place to look as long as no letter is varied; our decoder has to find it by
attention. `LetterTagging` has a label for each letter of a word, with the Hamming distance for reward and accuracy for
score, and 56 labels to choose from. Outputs are greedy everywhere.

The budget is small, so that all of it takes a few minutes of a processor: 49,638 symbols of spelling, ends included,
and 67,512 labels of letters, written or read: 6 epochs for those that read one output per example, 2 for those that
write 3.

Nothing is tuned: every arm has the number that was chosen for it on `HiddenMarkov`, as recorded there. To find a budget
that fits, one run of ML and one of PPO on each task were looked at under seed 100, at other rates and for half as long
or less.

Expected before the runs: on spelling, PPO comes within ten points of ML, and REINFORCE and minimum risk, which start
from nothing and see two epochs, learn next to nothing (a score below 20). On letters ML and RML pass 70, PPO stays
below half of that, and no arm that learns from its own outputs comes within twenty points of ML. PPO takes more than
ten times ML's CPU-seconds on both.

PPO still rose steeply on letters when its budget was spent, so that these were run again with three times the budget,
202,536 labels, under one seed. Expected before these runs: PPO passes 40 and A2C does not, ML and RML gain less than
five points, and REINFORCE and minimum risk stay below 20.
"""

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from rapidfuzz.distance import Levenshtein
from rich.console import Console

from structpred.cli import as_command
from structpred.cli.arguments import Parser
from structpred.comparison.panels import Panel
from structpred.display import show_table
from structpred.distributions.protocols import Decoding
from structpred.experiments._agents import (
    EMBEDDING,
    HIDDEN,
    Arm,
    Setting,
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
from structpred.experiments.outside_agents import COLUMNS
from structpred.files import folder_to_write
from structpred.models import Seq2Seq
from structpred.report.drawing import plain_figure, standalone, svg
from structpred.rewards import EditDistance
from structpred.sequences import spelt
from structpred.tasks import LetterTagging, SpellingVariants
from structpred.vocabulary import Symbols

SETTINGS = {
    "spelling": Setting(
        task=SpellingVariants(),
        model=Seq2Seq(embedding=EMBEDDING, hidden=HIDDEN),
        reward=EditDistance(),
        epochs=6,
        decoding=Decoding(beam=1),
    ),
    "letters": Setting(task=LetterTagging(size=1500), epochs=6),
    "letters for longer": Setting(task=LetterTagging(size=1500), epochs=18),
}
SEEDS = {"spelling": 2, "letters": 2, "letters for longer": 1}
NUMBERS = {
    "MaskablePPO": 1e-3,
    "A2C": 4e-3,
    "REINFORCE": 5e-3,
    "REINFORCE by label": 1e-2,
    "minimum risk": 1e-2,
    "ML": 5e-3,
    "RML": 0.02,
}
"""What the record of `structpred.experiments.outside_agents` chose."""


def panels() -> dict[str, Panel]:
    """Our arms, as `structpred compare` takes them: those of a task with equally many epochs together."""
    found = dict[str, Panel]()
    for task, setting in SETTINGS.items():
        drawn, read = dict[str, Any](), dict[str, Any]()
        for name, objective in objectives_for(setting.reward).items():
            (read if outputs_of(objective) == 1 else drawn)[name] = ours(objective, NUMBERS[name], setting)
        read["RML"] = ours(rml(NUMBERS["RML"], setting.reward), setting=setting)
        found |= {f"{task}, own outputs": Panel(arms=drawn), f"{task}, references": Panel(arms=read)}
    return found


def chosen_arms(task: str) -> dict[str, Arm]:
    """Every arm on a task, with its only number."""
    return {name: replace(arm, tried=(NUMBERS[name],)) for name, arm in arms(SETTINGS[task]).items()}


@cache
def marks(task: str, split: str) -> dict[str, float]:
    """Scores to compare with: the most probable spelling, or the most frequent label of each letter in training."""
    setting = SETTINGS[task]
    examples = getattr(setting.task.load(), split)
    references = [example.references[0] for example in examples]
    if isinstance(setting.task, SpellingVariants):
        name, outputs = "best possible", [setting.task.best(example.source) for example in examples]
    else:
        name, outputs = "most frequent", by_letter(setting, [example.source for example in examples])
    pairs = zip(outputs, references, strict=True)
    wrong = sum(Levenshtein.distance(output, reference) for output, reference in pairs)
    return {name: 100 - 100 * wrong / sum(map(len, references))}


def by_letter(setting: Setting, sources: Sequence[Symbols]) -> list[Symbols]:
    """The most frequent label of each letter in training."""
    seen = defaultdict[str, Counter[str]](Counter)
    for example in setting.task.load().train:
        for letter, label in zip(spelt(example.source), example.references[0], strict=True):
            seen[letter][label] += 1
    best = {letter: counts.most_common(1)[0][0] for letter, counts in seen.items()}
    return [tuple(best.get(letter, "_") for letter in source) for source in sources]


def compared(root: Path, console: Console) -> dict[str, Any]:
    """All that the report shows."""
    parts = {}
    for task, setting in SETTINGS.items():
        console.print(task)
        found = tuned(chosen_arms(task), SEEDS[task], root, console)
        both = {split: marks(task, split) for split in ("dev", "test")}
        own = {"seeds": list(range(SEEDS[task])), "arms": found["arms"], "runs": found["runs"]}
        parts[task] = {"task": json.loads(setting.task.to_json()), "marks": both, **own}
    return {"tasks": parts, **circumstances()}


SHOWN = tuple(column for column in COLUMNS if not column.startswith("gap"))


def text(results: Mapping[str, Any]) -> str:
    """The report."""
    question = (__doc__ or "").partition("\n")[0]
    lines = [
        f"# {question}",
        "",
        "Made by `structpred.experiments.outside_agents_tasks`.",
        "",
    ]
    for task, part in results["tasks"].items():
        ((mark, score),) = part["marks"]["test"].items()
        seeds = ", ".join(map(str, part["seeds"]))
        lines += [f"## {task}", "", f"Seeds {seeds}. Score on test of the {MARKS[mark]}: {score:.2f}.", ""]
        lines += table(SHOWN, rows(part))
    return "\n".join([*lines, *made_with(results), ""])


MARKS = {"best possible": "most probable output", "most frequent": "most frequent label of each letter in training"}


def picture(results: Mapping[str, Any]) -> str:
    """The score on dev, averaged over seeds, against the three costs, a row for each task."""
    with plain_figure((11.0, 10.6), "outside agents on two tasks") as figure:
        drawn = figure.subplots(len(results["tasks"]), 3, sharey="row")
        for axes, (task, part) in zip(drawn, results["tasks"].items(), strict=True):
            draw_curves(axes, part["runs"], part["marks"]["dev"], (0.0, 101.0))
            axes[0].set_ylabel(f"{task}: score on dev, %")
        figure.legend(*drawn[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=7, frameon=False)
        return standalone(svg(figure))


def main() -> None:
    """Run what is missing, show and write."""
    options = Parser("python -m structpred.experiments.outside_agents_tasks", (__doc__ or "").partition("\n")[0])
    options.add_argument("--root", type=Path, default=Path("runs"), help="the folder of run folders")
    where = Path("reports/outside_agents_tasks")
    options.add_argument("--report", type=Path, default=where, help="where the report goes")
    given = options.read()
    folder_to_write(given.report)
    torch.set_num_threads(1)
    console = Console()
    results = compared(given.root, console)
    for part in results["tasks"].values():
        show_table(console, SHOWN, rows(part))
    write(results, text(results), picture(results), given.report)


if __name__ == "__main__":
    sys.exit(as_command(main, exits=True))
