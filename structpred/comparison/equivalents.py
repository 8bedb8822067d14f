"""Arms that are one method under two names."""

from collections.abc import Mapping
from dataclasses import replace

from structpred.comparison.words import in_words
from structpred.config import Config
from structpred.experiment import Experiment
from structpred.objective import Objective
from structpred.report.document import joined


def equivalents(arms: Mapping[str, Config]) -> tuple[str, ...]:
    """A sentence for each arm whose objective reduces to a simpler one on its model, naming the arms that it equals."""
    experiments = {arm: config for arm, config in arms.items() if isinstance(config, Experiment)}
    return tuple(
        _sentence(arm, plainer, experiments)
        for arm, experiment in experiments.items()
        if (plainer := experiment.objective.same_as(experiment.model)) is not None
    )


def _sentence(arm: str, plainer: Objective, experiments: Mapping[str, Experiment]) -> str:
    mine = replace(experiments[arm], objective=plainer, seed=0)
    others = {other: _plainest(experiment) for other, experiment in experiments.items() if other != arm}
    same = [other for other, experiment in others.items() if experiment == mine]
    method = [
        other
        for other, experiment in others.items()
        if other not in same
        and type(experiment.objective) is type(plainer)
        and replace(experiment, objective=plainer) == mine
    ]
    kind = type(experiments[arm].model).__name__
    name = in_words(plainer, bracketed=True, whole=True)
    said = f"{arm} is {name} under another name: on {kind} the two have the same loss and gradient."
    if same:
        said += f" It is the same experiment as {joined(same)}, so their scores differ by rounding alone."
    if method:
        said += f" It and {joined(method)} are one method with different settings, not different methods."
    return said


def _plainest(experiment: Experiment) -> Experiment:
    plainer = experiment.objective.same_as(experiment.model)
    return replace(experiment, objective=plainer or experiment.objective, seed=0)
