"""Ten languages under one setting: do label smoothing or the edit-distance payoff pronounce better than likelihood?

Run with ``STRUCTPRED_DATA`` set to a folder that holds ``sigmorphon2020/{train,dev,test}/*.tsv``, or let the files be
downloaded. It can be stopped at any time and resumes, and more seeds add to what is there::

    python -m structpred.experiments.sigmorphon_2020 --seeds 2

Model, optimiser and batches are those chosen for French on dev (see ``french_pronunciation``), with 40 epochs; ε is the
shared task's. The temperature is one for all languages, the rescaled τ of 0.7, 0.8 and 0.9 that had the lowest word
error rate on dev on average over Bulgarian, Greek and Icelandic, under a seed that is not compared: 18.7, 19.1 and 21.2
%. Other sizes, dropouts and a moving average of weights were tried for likelihood on Bulgarian, Greek and Hindi under
seed 0, whose test scores were seen as well; dev showed no clear gain at equal cost, so French's settings were kept, but
seed 0 is not untouched. Decoding is by a beam of 5. Beside our macro-averages over the ten languages stand those of the
shared task (Gorman et al. 2020, tables of results by language; words, and phones by the script's own count): its LSTM
baseline, smoothed by 0.1 and chosen among 36 settings for each language, and the best of all submissions for each
language, most of them ensembles.
"""

import sys
from dataclasses import replace

from structpred.cli import as_command
from structpred.cli.arguments import Parser, few
from structpred.comparison.across import Across, Published
from structpred.comparison.report import Report
from structpred.comparison.runner import compare
from structpred.distributions.protocols import Decoding
from structpred.experiment import Experiment
from structpred.models import Seq2Seq
from structpred.objectives import RML, LabelSmoothing, MaximumLikelihood
from structpred.payoffs import EditDistancePayoff, Temperature
from structpred.report.files import refuse_others
from structpred.tasks import Sigmorphon2020
from structpred.tasks.morphology import Language
from structpred.training import Adam, Trainer

LANGUAGES: tuple[Language, ...] = ("ady", "arm", "bul", "dut", "fre", "geo", "gre", "hin", "ice", "rum")
BASELINE_WORDS = (28.00, 14.67, 31.11, 16.44, 6.22, 26.44, 18.89, 6.67, 10.00, 10.67)
BASELINE_PHONES = (6.53, 3.49, 5.94, 2.94, 1.32, 5.14, 3.30, 1.47, 2.36, 2.53)
BEST_WORDS = (24.67, 12.22, 22.22, 13.56, 5.11, 24.89, 14.44, 5.11, 9.11, 9.78)

PUBLISHED: Published = {
    "LSTM baseline": {
        "WER": dict(zip(LANGUAGES, BASELINE_WORDS, strict=True)),
        "SIGMORPHON-PER": dict(zip(LANGUAGES, BASELINE_PHONES, strict=True)),
    },
    "best submission": {"WER": dict(zip(LANGUAGES, BEST_WORDS, strict=True))},
}

RESCALED = 0.7


def experiments(language: Language = "fre") -> dict[str, Experiment]:
    """The three arms in a language."""
    base = Experiment(
        task=Sigmorphon2020(language=language),
        model=Seq2Seq(embedding=128, hidden=256, dropout=0.3),
        objective=MaximumLikelihood(),
        optimiser=Adam(lr=3e-3),
        trainer=Trainer(epochs=40, batch_tokens=256),
        decoding=Decoding(beam=5),
    )
    return {
        "ML": base,
        "smoothing": replace(base, objective=LabelSmoothing(epsilon=0.1)),
        "RML": replace(base, objective=_rml(RESCALED)),
    }


def temperatures(language: Language) -> dict[str, Experiment]:
    """What the temperature was chosen among, by ``compare(temperatures("bul"), seeds=(100,))`` and so on."""
    base = experiments(language)["ML"]
    return {f"rescaled {rescaled}": replace(base, objective=_rml(rescaled)) for rescaled in (0.7, 0.8, 0.9)}


def _rml(rescaled: float) -> RML:
    return RML(payoff=EditDistancePayoff(temperature=Temperature(rescaled=rescaled)))


def main() -> None:
    """Compare in every language, all of them under one seed before the next."""
    options = Parser("python -m structpred.experiments.sigmorphon_2020", "Compare in ten languages.")
    options.add_argument("--seeds", type=few, default=2, metavar="N", help="seeds 0 to N - 1")
    options.add_argument("--workers", type=few, default=None, help="processes; one per CPU by default")
    options.add_argument("--root", default="runs", help="the folder of run folders")
    options.add_argument("--report", default="reports/sigmorphon_2020", help="where the report goes")
    given = options.read()
    refuse_others(given.report)
    for seeds in range(1, given.seeds + 1):
        reports: dict[str, Report] = {
            language: compare(experiments(language), seeds=range(seeds), root=given.root, workers=given.workers)
            for language in LANGUAGES
        }
    across = Across(reports, PUBLISHED)
    across.show()
    across.write(given.report)


if __name__ == "__main__":
    sys.exit(as_command(main, exits=True))
