"""``results.json``: everything needed to redo a report's tables and figures, and the way back from it."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from structpred.comparison.analysis import Contrast
from structpred.comparison.design import Design, Pair
from structpred.comparison.findings import ComparisonResult, KeptArm, tree_of
from structpred.comparison.inspection import Inspection
from structpred.comparison.material import Material
from structpred.config import Config
from structpred.errors import RunError, StructpredError
from structpred.experiment import Experiment
from structpred.provenance import environment
from structpred.report.document import Document
from structpred.report.files import FORMAT, readable, written
from structpred.results import KeptMeasure, Measure, RunResult, renamed
from structpred.statistics import CrossedTest, ExamplesTest


def encode(report: ComparisonResult, document: Document | None = None) -> str:
    """The text of ``results.json``, including everything the document shows, if one is given."""
    return written({"format": FORMAT, **_tree(report)}, document)


def encode_panels(reports: Mapping[str, ComparisonResult], document: Document | None = None) -> str:
    """The text of ``results.json`` for several comparisons."""
    return written({"format": FORMAT, "panels": {name: _tree(report) for name, report in reports.items()}}, document)


def _tree(report: ComparisonResult) -> dict[str, object]:
    every_pair = report.design.pairs == "all"
    return {
        "baseline": report.baseline,
        "design": asdict(report.design),
        "seeds": list(report.seeds),
        "metrics": [_metric(metric) for metric in report.metrics],
        "arms": {arm: tree_of(each) for arm, each in report.arms.items()},
        "runs": {arm: [asdict(run) for run in report.results[arm]] for arm in report.arms},
        "tests": {metric.name: _tests(report, metric) for metric in report.metrics},
        **({"pairs": {metric.name: _pairs(report, metric) for metric in report.metrics}} if every_pair else {}),
        "over_examples": _of_pairs(report.over_examples),
        "crossed": _of_pairs(report.crossed),
        **({} if report.material is None else {"material": asdict(report.material)}),
        **({} if report.inspection is None else {"inspection": asdict(report.inspection)}),
        **({"ensembles": report.ensembles} if report.ensembles else {}),
        "conclusion": list(report.conclusion()),
        "environment": asdict(environment()),
    }


def _of_pairs(tests: Mapping[Pair, ExamplesTest] | Mapping[Pair, CrossedTest]) -> list[dict[str, object]]:
    return [{"arm": arm, "reference": reference, **asdict(test)} for (arm, reference), test in tests.items()]


def _metric(metric: Measure) -> dict[str, object]:
    return {"name": metric.name, "higher_is_better": metric.higher_is_better, "signature": metric.signature}


def _tests(report: ComparisonResult, metric: Measure) -> dict[str, object]:
    """The test of each arm against its baseline."""
    return {
        row.arm: _test(row.reference, row.contrast)
        for row in report.table(metric)
        if row.reference is not None and row.contrast is not None
    }


def _pairs(report: ComparisonResult, metric: Measure) -> list[dict[str, object]]:
    """Every test of a pair."""
    return [{"arm": arm, **_test(reference, test)} for (arm, reference), test in report.tests(metric).items()]


def _test(reference: str, contrast: Contrast) -> dict[str, object]:
    return {"reference": reference, **asdict(contrast)}


def decode(file: Path, kind: type[Config] | None, metrics: tuple[Measure, ...] | None = None) -> ComparisonResult:
    """What `encode` wrote into ``file``; see `Report.read`."""
    return readable(file, lambda tree: findings(tree, file, kind, metrics))


def decode_panels(
    file: Path, kind: type[Config] | None, metrics: Mapping[str, tuple[Measure, ...]] | None = None
) -> dict[str, ComparisonResult]:
    """What `encode_panels` wrote into ``file``; see `PanelsReport.read`."""

    def panels(tree: dict[str, Any]) -> dict[str, ComparisonResult]:
        if metrics is not None and list(tree["panels"]) != list(metrics):
            raise RunError(f"{file}: expected the panels {list(metrics)}, but it has {list(tree['panels'])}")
        of = metrics or dict.fromkeys(tree["panels"])
        return {name: findings(node, file, kind, of[name]) for name, node in tree["panels"].items()}

    return readable(file, panels)


def findings(
    tree: dict[str, Any], file: Path, kind: type[Config] | None, metrics: tuple[Measure, ...] | None = None
) -> ComparisonResult:
    """One comparison of a file, from its part of the tree; see `Report.read`."""
    kept = tuple(KeptMeasure(**metric) for metric in tree["metrics"])
    names = [metric.name for metric in kept]
    if metrics is not None and list(renamed(dict.fromkeys(names), metrics)) != [metric.name for metric in metrics]:
        raise RunError(f"{file}: expected the metrics {[metric.name for metric in metrics]}, but it has {names}")
    measures, arms = metrics or kept, _arms(tree["arms"], kind)
    results = {arm: tuple(_run(run).known_by(measures) for run in runs) for arm, runs in tree["runs"].items()}
    design = _design(tree.get("design", {}))  # a report that has none was made when seeds were taken to be fixed
    examples = {_pair(node): ExamplesTest(**_test_of(node)) for node in tree.get("over_examples", ())}
    crossed = {_pair(node): CrossedTest(**_test_of(node)) for node in tree.get("crossed", ())}
    material = Material.of_tree(tree["material"]) if "material" in tree else None
    inspection = Inspection.of_tree(tree["inspection"]) if "inspection" in tree else None
    return ComparisonResult(
        arms,
        tuple(tree["seeds"]),
        tree["baseline"],
        results,
        measures,
        design,
        examples,
        crossed,
        inspection,
        material,
        _ensembles(tree.get("ensembles", {}), measures),
    )


def _ensembles(
    tree: dict[str, dict[str, dict[str, float]]], measures: tuple[Measure, ...]
) -> dict[str, dict[str, dict[str, float]]]:
    return {
        arm: {split: renamed(by_name, measures) for split, by_name in splits.items()} for arm, splits in tree.items()
    }


def _arms(nodes: dict[str, Any], kind: type[Config] | None) -> dict[str, Config]:
    """The configs of all arms; without a kind Experiments, or kept ones where one of them cannot be made here."""
    texts = {arm: json.dumps(node, ensure_ascii=False) for arm, node in nodes.items()}
    try:
        return {arm: (kind or Experiment).from_json(text) for arm, text in texts.items()}
    except StructpredError:
        if kind is not None:
            raise
        return {arm: KeptArm(text=text) for arm, text in texts.items()}


def _pair(node: dict[str, Any]) -> Pair:
    return node["arm"], node["reference"]


def _test_of(node: dict[str, Any]) -> dict[str, Any]:
    """The numbers of a test, without the names of the pair."""
    return {name: value for name, value in node.items() if name not in ("arm", "reference")}


def _design(node: dict[str, Any]) -> Design:
    groups = {baseline: tuple(arms) for baseline, arms in node.get("groups", {}).items()}
    return Design(**{**node, "groups": groups})


def _run(node: dict[str, Any]) -> RunResult:
    return RunResult.of(node | {"history": [_epoch(epoch) for epoch in node["history"]]})


def _epoch(node: dict[str, Any]) -> dict[str, Any]:
    diagnostics = {name: _number(value) for name, value in node["diagnostics"].items()}
    return {**node, "loss": _number(node["loss"]), "diagnostics": diagnostics}


def _number(value: float | None) -> float:
    return math.nan if value is None else value
