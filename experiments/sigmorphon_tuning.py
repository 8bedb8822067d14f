"""With the temperature tuned on dev, does RML pronounce better than likelihood or label smoothing, in five languages?

Run as a module, with ``STRUCTPRED_DATA`` set to a folder that holds ``sigmorphon2020/{train,dev,test}/*.tsv``. It can
be stopped at any time and goes on, and the same command on several machines with one ``--storage`` shares the trials::

    python -m structpred.experiments.sigmorphon_tuning --workers 2

The rule is an equal tuning budget: in every language RML's edit rate and label smoothing's ε have the same number of
trials, seeds and finalists, the same sampler and pruner, and one number each to find. Likelihood has none. Model,
optimiser and epochs are those that were chosen for French (see ``french_pronunciation``), in all languages and arms.
The best of each is then compared on test under five seeds that took no part in the tuning, with likelihood and with
label smoothing as the baseline.
"""

import argparse
from dataclasses import replace

from structpred.comparison.runner import compare
from structpred.experiment import Experiment
from structpred.experiments.french_pronunciation import BASE, FOLDER
from structpred.objectives import RML, LabelSmoothing
from structpred.payoffs import EditDistancePayoff, Temperature
from structpred.tasks import Tsv
from structpred.tuning import Space, spaces, tune

LANGUAGES = ("ady", "bul", "dut", "fre", "hin")
TRIALS = 12
REPORTS = "reports/sigmorphon_tuning"


def likelihood(language: str) -> Experiment:
    """The baseline of a language."""
    train, dev, test = (f"{FOLDER}/{split}/{language}_{split}.tsv" for split in ("train", "dev", "test"))
    return replace(BASE, task=Tsv(train=train, dev=dev, test=test))


def experiments(language: str = "fre") -> dict[str, Experiment]:
    """The three arms of a language, before tuning."""
    payoff = EditDistancePayoff(temperature=Temperature(edit_rate=0.04))
    base = likelihood(language)
    return {
        "ML": base,
        "smoothing": replace(base, objective=LabelSmoothing(epsilon=0.1)),
        "RML": replace(base, objective=RML(payoff=payoff)),
    }


def tuned_spaces() -> dict[str, Space]:
    """What is searched: two numbers in every language."""
    found: dict[str, Space] = {}
    for language in LANGUAGES:
        arms = experiments(language)
        found[f"{language} RML"] = spaces.edit_rate(arms["RML"])
        found[f"{language} smoothing"] = spaces.smoothing(arms["smoothing"])
    return found


def main() -> None:
    """Tune, then compare."""
    options = argparse.ArgumentParser(description="Tune and compare in five languages.")
    options.add_argument("--workers", type=int, default=1)
    options.add_argument("--storage", default=None)
    given = options.parse_args()
    tuning = tune(tuned_spaces(), trials=TRIALS, name="sigmorphon", workers=given.workers, storage=given.storage)
    tuning.show()
    tuning.write(REPORTS)
    for language in LANGUAGES:
        best = {arm: tuning.studies[f"{language} {arm}"].experiment for arm in ("smoothing", "RML")}
        for baseline in ("ML", "smoothing"):  # the runs are the same, and are found the second time
            report = compare({"ML": likelihood(language), **best}, baseline=baseline, workers=given.workers)
            report.write(f"{REPORTS}/{language}_against_{baseline}")


if __name__ == "__main__":
    main()
