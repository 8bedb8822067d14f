"""With the temperature tuned on dev, does RML pronounce better than likelihood or label smoothing, in five languages?

Run as a module, with ``STRUCTPRED_DATA`` set to a folder that holds ``sigmorphon2020/{train,dev,test}/*.tsv``. It can
be stopped at any time and resumes::

    python -m structpred.experiments.sigmorphon_tuning --workers 2

The rule is an equal tuning budget: in every language RML's rescaled τ and label smoothing's ε have four trials each, on
a grid, under one seed that is not compared, every trial trained to its end. Likelihood has nothing to tune. Model,
optimiser, epochs and search are those of ``sigmorphon_2020``, in all languages and arms. The best of each is then
compared on test under seeds that took no part in the tuning, with likelihood and with label smoothing as the baseline.
They are not untouched: the range of τ was chosen after 0.7 had won over 0.8 and 0.9 in three of these languages on dev,
and the languages so that finished runs could be used again, after test scores of τ = 0.7 and ε = 0.1 had been seen.
"""

import sys

from structpred.cli import as_command
from structpred.cli.arguments import Parser, few
from structpred.comparison.across import Across
from structpred.comparison.runner import compare
from structpred.experiment import Experiment
from structpred.experiments import sigmorphon_2020
from structpred.report.files import refuse_others
from structpred.tasks.morphology import Language
from structpred.tuning import Space, Tuning, spaces, tune

LANGUAGES: tuple[Language, ...] = ("ady", "bul", "gre", "hin", "ice")
BASELINES = ("ML", "smoothing")
POINTS = 4
TUNED = ("smoothing", "RML")


def tuned_spaces() -> dict[str, Space]:
    """What is searched: one number for each of two arms, in every language."""
    found: dict[str, Space] = {}
    for language in LANGUAGES:
        arms = experiments(language)
        found[f"{language} smoothing"] = spaces.smoothing(arms["smoothing"], low=0.05, high=0.4)
        found[f"{language} RML"] = spaces.rescaled(arms["RML"], low=0.5, high=0.8)
    return found


def experiments(language: Language = LANGUAGES[0]) -> dict[str, Experiment]:
    """The three arms in a language, before tuning."""
    return sigmorphon_2020.experiments(language)


def tuned(tuning: Tuning, language: Language) -> dict[str, Experiment]:
    """Likelihood, and the best of the other two, in a language."""
    return experiments(language) | {arm: tuning.studies[f"{language} {arm}"].experiment for arm in TUNED}


def main() -> None:
    """Tune, then compare."""
    options = Parser("python -m structpred.experiments.sigmorphon_tuning", "Tune and compare in five languages.")
    options.add_argument("--seeds", type=few, default=2, metavar="N", help="compare under seeds 0 to N - 1")
    options.add_argument("--workers", type=few, default=1, help="processes")
    options.add_argument("--storage", default=None, help="a journal file or a URL; beside the runs by default")
    options.add_argument("--root", default="runs", help="the folder of run folders")
    options.add_argument("--report", default="reports/sigmorphon_tuning", help="where the reports go")
    given = options.read()
    for report in ("tuning", *(f"against_{baseline}" for baseline in BASELINES)):
        refuse_others(f"{given.report}/{report}")
    tuning = tune(
        tuned_spaces(),
        sampler="grid",
        points=POINTS,
        pruner="none",
        finalists=0,
        name="sigmorphon",
        storage=given.storage,
        root=given.root,
        workers=given.workers,
    )
    tuning.show()
    tuning.write(f"{given.report}/tuning")
    for baseline in BASELINES:  # the runs are the same, and are found the second time
        across = Across(
            {
                language: compare(
                    tuned(tuning, language),
                    seeds=range(given.seeds),
                    baseline=baseline,
                    root=given.root,
                    workers=given.workers,
                )
                for language in LANGUAGES
            }
        )
        across.show()
        across.write(f"{given.report}/against_{baseline}")


if __name__ == "__main__":
    sys.exit(as_command(main, exits=True))
