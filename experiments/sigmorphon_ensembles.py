"""What do an ensemble of seeds and minimum Bayes risk by edit distance add to single pronunciation models?

Run with ``STRUCTPRED_DATA`` set to a folder that holds ``sigmorphon2020/{train,dev,test}/*.tsv``, or let the files be
downloaded. It can be stopped at any time and resumes, and more languages, seeds and arms add to what is there::

    python -m structpred.experiments.sigmorphon_ensembles --languages hin fre ady arm ice geo bul rum gre dut --seeds 3

Models are those of `structpred.experiments.sigmorphon_2020`, with its settings and runs; the arm is likelihood. In
every language there are the single models, one a seed, whose scores are averaged, and the ensemble of all of them. Both
are decoded in three ways: by a beam of 5, by minimum Bayes risk with the edit distance over the 32 best outputs, and by
the same over 32 samples. Scores are macro-averages over languages.

Languages are taken in the order of the CPU time that they took in the record of `sigmorphon_2020`, the cheapest first,
as many as there is time for: Hindi, then French, on which the model's settings were chosen, then Adyghe. Nothing is
chosen here, so that dev serves as a second test set for these comparisons. Tests are over the words of the test sets,
for the given models: approximate randomisation of all words together, and a bootstrap; Holm's correction is over the
five comparisons of a metric. A system is called better where its corrected p is below 0.05.

Expected before these runs: the ensemble is better than its members by at least 1 point of word errors and 0.2 points of
phone errors; minimum Bayes risk makes fewer phone errors than the beam with single models, over n-best lists no more
word errors, and over samples more; with the ensemble it makes no difference beyond 0.2 points of phone errors.

A second record takes RML, which has fewer errors on dev than likelihood in the record of `sigmorphon_2020`, and five
seeds: the same command with ``--arms RML --seeds 5 --report reports/sigmorphon_ensembles_rml``. Expected before its
runs: single models have at most 16.3 % word errors and 3.45 % phone errors by the script's count; their ensemble has at
most 14.9 and 3.1, but not the 14.5 and 3.0 at which we aim; minimum Bayes risk makes no difference beyond 0.2 points.
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from rich.console import Console

from structpred.cli import as_command
from structpred.cli.arguments import Parser, few, one_of
from structpred.display import show_table
from structpred.distributions.protocols import Decoding
from structpred.experiment import Experiment
from structpred.experiments import sigmorphon_2020
from structpred.files import folder_to_write, write_atomically
from structpred.metrics import Counts, Metric, score
from structpred.provenance import environment
from structpred.rewards import EditDistance
from structpred.runs import Ensemble, Run, train
from structpred.runs.predictor import Predictor
from structpred.statistics import estimate, fixed, holm, over_examples
from structpred.task import Example, loaded
from structpred.tasks import Sigmorphon2020
from structpred.tasks.morphology import Language
from structpred.training.evaluation import score_counts

CANDIDATES = 32
BEAM, N_BEST, SAMPLES = "beam", "MBR, n-best", "MBR, samples"
DECODINGS = {
    BEAM: Decoding(beam=5),
    N_BEST: Decoding(reward=EditDistance(), candidates="n-best", num_candidates=CANDIDATES),
    SAMPLES: Decoding(reward=EditDistance(), candidates="samples", num_candidates=CANDIDATES),
}
SINGLE, ENSEMBLE = "single", "ensemble"
COMPARISONS = (
    ((ENSEMBLE, BEAM), (SINGLE, BEAM)),
    *(((who, how), (who, BEAM)) for who in (SINGLE, ENSEMBLE) for how in (N_BEST, SAMPLES)),
)
"""Each system and the one that it is compared with."""

SPLITS = ("dev", "test")
TRIALS = 1000
"""Of the tests over words."""

METRICS = Sigmorphon2020.metrics
ARMS = tuple(sigmorphon_2020.experiments())

System = tuple[str, str]
"""Who predicts, and how it decodes."""


@dataclass(frozen=True)
class Measured:
    """What a system predicted for a language.

    Attributes:
        counts: by split and metric, the statistics of each example; one table a model.
        cpu_seconds: of decoding dev and test by one model, or by the ensemble.
    """

    counts: dict[str, dict[str, list[Counts]]]
    cpu_seconds: float


def experiments(language: Language = "hin") -> dict[str, Experiment]:
    """The arm that is compared by default."""
    return {"ML": sigmorphon_2020.experiments(language)["ML"]}


def systems(runs: Sequence[Run], splits: Mapping[str, Sequence[Example]]) -> dict[System, Measured]:
    """What the single models and their ensemble predict, decoded in every way."""
    predictors: dict[str, Sequence[Predictor]] = {SINGLE: runs, ENSEMBLE: [Ensemble(runs)]}
    measured = {}
    for who, models in predictors.items():
        for how, decoding in DECODINGS.items():
            start = time.process_time()
            counts: dict[str, dict[str, list[Counts]]] = {}
            for split, examples in splits.items():
                sources = [example.source for example in examples]
                tables = [score_counts(METRICS, examples, model.decode(sources, decoding)) for model in models]
                counts[split] = {metric.name: [table[metric.name] for table in tables] for metric in METRICS}
            measured[who, how] = Measured(counts, (time.process_time() - start) / len(models))
    return measured


def macro(metric: Metric, totals: np.ndarray, languages: int) -> float:
    """The mean over languages of a score, from the statistics of all of them side by side."""
    return float(np.mean([metric.score(each) for each in totals.reshape(languages, -1)]))


def side_by_side(tables: Sequence[Counts]) -> Counts:
    """The statistics of all languages' examples, each language in columns of its own.

    >>> side_by_side([np.ones((2, 1)), np.full((1, 1), 5.0)]).tolist()
    [[1.0, 0.0], [1.0, 0.0], [0.0, 5.0]]
    """
    width = tables[0].shape[1]
    placed = np.zeros((sum(map(len, tables)), width * len(tables)))
    row = 0
    for place, table in enumerate(tables):
        placed[row : row + len(table), place * width : (place + 1) * width] = table
        row += len(table)
    return placed


def compare(measured: Mapping[str, Mapping[System, Measured]], metric: Metric, split: str) -> list[dict[str, Any]]:
    """Every comparison of a metric over the examples of all languages."""
    models = len(next(iter(measured.values()))[SINGLE, BEAM].counts[split][metric.name])

    def tables(system: System) -> list[Counts]:
        by_language = [each[system].counts[split][metric.name] for each in measured.values()]
        # an ensemble stands for as many models, all of them the same, against each of its members
        return [side_by_side([of[i % len(of)] for of in by_language]) for i in range(models)]

    tests = [
        over_examples(tables(one), tables(other), lambda totals: macro(metric, totals, len(measured)), trials=TRIALS)
        for one, other in COMPARISONS
    ]
    corrected = holm([test.p for test in tests])
    return [
        {"system": list(one), "against": list(other), **asdict(test), "corrected_p": p}
        for (one, other), test, p in zip(COMPARISONS, tests, corrected, strict=True)
    ]


def results_of(arm: str, languages: Sequence[Language], seeds: int, root: Path, console: Console) -> dict[str, Any]:
    """Train what is missing of an arm, and score it."""
    measured: dict[str, dict[System, Measured]] = {}
    trained, sizes = {}, {}
    for language in languages:
        base = sigmorphon_2020.experiments(language)[arm]
        splits = loaded(base.task)
        runs = [train(replace(base, seed=seed), root=root, device="cpu", splits=splits) for seed in range(seeds)]
        trained[language] = [run.result.cpu_seconds for run in runs]
        held_out = {split: getattr(splits, split) for split in SPLITS}
        sizes[language] = {split: len(examples) for split, examples in held_out.items()}
        measured[language] = systems(runs, held_out)
        console.print(f"{arm}, {language}: {seeds} models trained and decoded")
    scores = {
        f"{who}, {how}": {
            language: {
                split: {metric.name: [score(metric, table) for table in each.counts[split][metric.name]]
                        for metric in METRICS}
                for split in SPLITS
            }
            for language, each in ((language, measured[language][who, how]) for language in languages)
        }
        for who in (SINGLE, ENSEMBLE) for how in DECODINGS
    }  # fmt: skip
    return {
        "examples": sizes,
        "training_cpu_seconds": trained,
        "decoding_cpu_seconds": {
            f"{who}, {how}": {language: measured[language][who, how].cpu_seconds for language in languages}
            for who in (SINGLE, ENSEMBLE)
            for how in DECODINGS
        },
        "scores": scores,
        "tests": {split: {metric.name: compare(measured, metric, split) for metric in METRICS[:2]} for split in SPLITS},
    }


def rows(result: Mapping[str, Any], split: str) -> list[tuple[str, ...]]:
    """The macro-averages of every system, and its cost."""
    made = []
    for system, by_language in result["scores"].items():
        cells = []
        for metric in METRICS:
            means = np.mean([each[split][metric.name] for each in by_language.values()], axis=0)
            cells.append(str(estimate(means)) if len(means) > 1 else fixed(float(means[0])))
        seconds = float(np.mean(list(result["decoding_cpu_seconds"][system].values())))
        made.append((system, *cells, f"{seconds:.1f}"))
    return made


def claims(result: Mapping[str, Any], split: str) -> list[str]:
    """What the tests say, a sentence each."""
    said = []
    for metric, tests in result["tests"][split].items():
        for test in tests:
            better = test["corrected_p"] < 0.05
            verdict = ("better" if test["difference"] < 0 else "worse") if better else "not shown to differ"
            said.append(
                f"{metric}: {', '.join(test['system'])} against {', '.join(test['against'])}: "
                f"{fixed(test['difference'], '+')} ({fixed(test['low'], '+')} to {fixed(test['high'], '+')}), "
                f"p = {test['p']:.4f}, {test['corrected_p']:.4f} by Holm: {verdict}."
            )
    return said


def text(results: Mapping[str, Any]) -> str:
    """The report."""
    columns = ["system", *(metric.name for metric in METRICS), "CPU-seconds of decoding"]
    lines = [f"# {(__doc__ or '').partition(chr(10))[0]}", ""]
    lines += [
        f"Made by `structpred.experiments.sigmorphon_ensembles`; languages {', '.join(results['languages'])}; "
        f"{results['seeds']} seeds. Scores are percentages, macro-averages over the languages; for single models the "
        "mean over seeds with the range of two or three, or a 95 % interval of more. Intervals of tests are 95 % by "
        "a bootstrap over words.",
        "",
    ]
    for arm, result in results["arms"].items():
        for split in reversed(SPLITS):
            lines += [
                f"## {arm}, {split}",
                "",
                f"| {' | '.join(columns)} |",
                f"| --- |{' ---: |' * (len(columns) - 1)}",
            ]
            lines += [f"| {' | '.join(row)} |" for row in rows(result, split)]
            lines += ["", *(f"* {claim}" for claim in claims(result, split)), ""]
        lines += [f"## {arm}, test, every language", ""]
        lines += [f"| language | {' | '.join(result['scores'])} |", f"| --- |{' ---: |' * len(result['scores'])}"]
        for metric in METRICS:
            for language in results["languages"]:
                cells = [
                    fixed(float(np.mean(by_language[language]["test"][metric.name])))
                    for by_language in result["scores"].values()
                ]
                lines += [f"| {language}, {metric.name} | {' | '.join(cells)} |"]
        seconds = [x for each in result["training_cpu_seconds"].values() for x in each]
        lines += ["", f"* {len(seconds)} models took {np.mean(seconds):.0f} CPU-seconds each to train.", ""]
    packages = results["environment"]["packages"]
    return "\n".join([*lines, "* " + ", ".join(f"{name} {version}" for name, version in packages.items()), ""])


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and decode what is missing, show and write."""
    options = Parser("python -m structpred.experiments.sigmorphon_ensembles", (__doc__ or "").partition("\n")[0])
    options.add_argument("--languages", nargs="+", type=one_of(get_args(Language)), default=["hin", "fre", "ady"])
    options.add_argument("--arms", nargs="+", type=one_of(ARMS), default=["ML"])
    options.add_argument("--seeds", type=few, default=3, metavar="N", help="seeds 0 to N - 1, all in the ensemble")
    options.add_argument("--root", type=Path, default=Path("runs"), help="the folder of run folders")
    options.add_argument("--report", type=Path, default=Path("reports/sigmorphon_ensembles"), help="its folder")
    given = options.read(arguments)
    folder_to_write(given.report)
    torch.set_num_threads(1)
    console = Console()
    arms = {arm: results_of(arm, given.languages, given.seeds, given.root, console) for arm in given.arms}
    results = {
        "languages": given.languages,
        "seeds": given.seeds,
        "arms": arms,
        "signatures": {metric.name: metric.signature for metric in METRICS},
        "environment": asdict(environment()),
    }
    columns = ("system", *(metric.name for metric in METRICS), "CPU-seconds of decoding")
    for result in arms.values():
        show_table(console, columns, rows(result, "test"))
    given.report.mkdir(parents=True, exist_ok=True)
    write_atomically(given.report / "scores.json", json.dumps(results, ensure_ascii=False, indent=1) + "\n")
    write_atomically(given.report / "report.md", text(results))


if __name__ == "__main__":
    sys.exit(as_command(main, exits=True))
