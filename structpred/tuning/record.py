"""``results.json`` of tuning: everything that its report shows, and the way back from it."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from optuna.distributions import distribution_to_json, json_to_distribution

from structpred.config import encode as tree_of
from structpred.errors import RunError, StructpredError
from structpred.experiment import Experiment
from structpred.provenance import environment
from structpred.report.files import FORMAT, results_in, written
from structpred.results import KeptMeasure
from structpred.tuning.analysis import optimum
from structpred.tuning.contents import Importances
from structpred.tuning.outcomes import Outcome, Result, conventions
from structpred.tuning.search import Search
from structpred.tuning.sentences import conclusion


def encode(studies: Mapping[str, Result], importances: Importances) -> str:
    """The text of ``results.json``."""
    return written(
        {
            "format": FORMAT,
            "studies": {name: _study(result) for name, result in studies.items()},
            "importances": importances,
            "conclusion": [sentence for result in studies.values() for sentence in conclusion(result)],
            "environment": asdict(environment()),
        }
    )


def _study(result: Result) -> dict[str, object]:
    found = {name: optimum(result, name) for name in result.numeric()}
    return {
        "name": result.name,
        "metric": result.metric.name,
        "measure": {name: getattr(result.metric, name) for name in ("name", "higher_is_better", "signature")},
        "search": tree_of(result.search),
        "distributions": {name: json.loads(distribution_to_json(each)) for name, each in result.distributions.items()},
        "labels": result.labels,
        "best": None if result.best is None else tree_of(result.experiment),
        "tied": [each.number for each in result.tied] if len(result.tied) > 1 else [],
        "optima": {name: asdict(each) for name, each in found.items() if each is not None},
        "trials": [_trial(result, each) for each in result.outcomes],
        "given up": result.given_up,
        "total": result.total,
    }


def _trial(result: Result, each: Outcome) -> dict[str, object]:
    tempered = None if each.experiment is None else conventions(each.experiment, result.labels)
    return {
        "number": each.number,
        "parameters": dict(each.parameters),
        "experiment": None if each.experiment is None else each.experiment.to_json(),
        "temperature": None if tempered is None else asdict(tempered),
        "state": each.state,
        "scores": {str(seed): score for seed, score in each.scores.items()},
        "epochs": {str(epoch): score for epoch, score in each.epochs.items()},
        "reason": each.reason,
        "seconds": each.seconds,
    }


def decode(file: Path) -> tuple[dict[str, Result], Importances]:
    """The studies of a file, and how much each of their parameters matters; see `Tuning.read`."""
    tree = results_in(file)
    try:
        return {name: _result(node) for name, node in tree["studies"].items()}, tree.get("importances", {})
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, StructpredError):
            raise
        raise RunError(
            f"{file} holds no whole report of tuning ({type(error).__name__}: {error}); write it again by the same "
            "structpred tune command"
        ) from error


def _result(node: dict[str, Any]) -> Result:
    search = Search.from_json(json.dumps(node["search"]))
    return Result(
        name=node["name"],
        metric=KeptMeasure(**node["measure"]),
        search=search,
        distributions={name: json_to_distribution(json.dumps(each)) for name, each in node["distributions"].items()},
        outcomes=tuple(_outcome(trial, set(search.later_seeds)) for trial in node["trials"]),
        given_up=node["given up"],
        labels=node["labels"],
        total=node.get("total", 0),
    )


def _outcome(node: dict[str, Any], later: set[int]) -> Outcome:
    scores = {int(seed): float(score) for seed, score in node["scores"].items()}
    return Outcome(
        number=node["number"],
        parameters=node["parameters"],
        experiment=None if node["experiment"] is None else Experiment.from_json(node["experiment"]),
        state=node["state"],
        scores=scores,
        fresh=tuple(score for seed, score in scores.items() if seed in later) or tuple(scores.values()),
        epochs={int(epoch): float(score) for epoch, score in node["epochs"].items()},
        reason=node["reason"],
        seconds=node["seconds"],
    )
