"""``structpred compare``, ``report`` and ``reproduce``."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from structpred.cli import assignments
from structpred.cli.arguments import NUMBERS
from structpred.cli.commands import Compare
from structpred.cli.run_commands import MakeReport, Reproduce
from structpred.comparison.across import Across
from structpred.comparison.estimate import jobs
from structpred.comparison.from_runs import of_runs
from structpred.comparison.panels import Panel, PanelsReport, planned
from structpred.comparison.plan import Plan, unfinished
from structpred.comparison.report import Report
from structpred.comparison.reproduction import Repeated, reproduce
from structpred.comparison.runner import compare_panels, costs, most_seeds
from structpred.config import components
from structpred.display import duration, show_table
from structpred.engine import cluster
from structpred.errors import ConfigError, RunError
from structpred.experiment import Experiment
from structpred.files import folder_to_write
from structpred.forecast import Cost, Forecast
from structpred.imports import called, imported, sources_of
from structpred.registry import nearest
from structpred.report.files import CSV, PICTURE, refuse_others, results_file, results_in, write_files
from structpred.results import renamed
from structpred.runs import Run, named
from structpred.runs.listing import is_run
from structpred.text import counted
from structpred.tuning.tuner import Tuning

MAIN_JOB = "structpred.experiments.five_objectives"


def run(given: Compare, console: Console) -> None:
    """Plan, run, show and write."""
    if given.cluster is not None and given.workers is not None:
        raise ConfigError("--cluster has workers of its own, so --workers cannot be given with it; leave one out")
    panels = _panels(given)
    most = most_seeds(panels, given.until, given.max_seeds)
    folder_to_write(given.root, of_runs=True)
    refuse_others(given.report, CSV, *(() if "" in panels else (PICTURE,)))
    if given.dry_run:
        with _executor(given, panels) as executor:
            if given.until is not None:
                console.print(f"Seeds are added until all is decided, up to {most} in all; these are the first ones")
            show_plan(given, list(planned(panels, given.root).values()), executor, console)
        return
    with _executor(given, panels) as executor:
        report = _compared(given, panels, executor).after_looks(given.report)
    report.show(console)
    written = report.write(given.report)
    console.print("Report: " + ", ".join(map(str, written)), soft_wrap=True)


def _executor(given: Compare, panels: Mapping[str, Panel]) -> AbstractContextManager[Executor | None]:
    """The executor of the cluster, if one is given."""
    parts = (part for panel in panels.values() for arm in panel.arms.values() for part in components(arm))
    return nullcontext() if given.cluster is None else cluster(given.cluster, sources_of(map(type, parts)))


def _compared(given: Compare, panels: Mapping[str, Panel], executor: Executor | None) -> Report | PanelsReport:
    reports = compare_panels(
        panels,
        until=given.until,
        max_seeds=given.max_seeds,
        root=given.root,
        workers=given.workers,
        device=given.device,
        executor=executor,
        examples=given.examples,
        ensembles=given.ensembles,
    )
    return reports.reports.get("", reports)


def _panels(given: Compare) -> dict[str, Panel]:
    """The comparisons by name; a single one has the empty name."""
    words = [word for word in given.words if "=" in word]
    modules = [word for word in given.words if "=" not in word]
    if any(word.partition("=")[0] == "seed" for word in words):
        raise ConfigError("every arm is run under every seed, so seed cannot be assigned; use --seeds")
    if len(modules) > (1 if given.objectives is None else 0):
        both = " and ".join([*modules, *(given.objectives or ())])
        raise ConfigError(f"expected one module of arms, or --objectives, but got {both}")
    if given.objectives is None:
        panels = load_panels(modules[0] if modules else MAIN_JOB)
        panels = {name: replace(panel, arms=assignments.arms(words, panel.arms)) for name, panel in panels.items()}
    else:
        if twice := [name for name, times in Counter(given.objectives).items() if times > 1]:
            raise ConfigError(f"--objectives names {twice[0]} twice; name each once, or write a module of arms")
        arms = {name: assignments.experiment([f"objective={name}", *words]) for name in given.objectives}
        panels = {"": Panel(arms=arms)}
    margins = _margins(given.margin)
    if margins:
        _refuse_unknown(margins, panels)
    return {name: _asked(given, panel, margins) for name, panel in panels.items()}


def _asked(given: Compare, panel: Panel, margins: Mapping[str, float]) -> Panel:
    """A panel with the seeds, the baseline and the design of the command line, where they are given."""
    seeds = panel.seeds if given.seeds is None else range(given.seeds)
    metrics = [metric for arm in panel.arms.values() for metric in arm.reported]
    names = {metric.name for metric in metrics}
    own = {name: margin for name, margin in renamed(margins, metrics).items() if name in names}
    design = replace(panel.design, margins={**renamed(panel.design.margins, metrics), **own})
    if given.all_pairs:
        design = replace(design, pairs="all")
    if given.group:
        design = replace(design, groups=_groups(given.group))
    return replace(panel, seeds=seeds, baseline=given.baseline or panel.baseline, design=design)


def _margins(words: Sequence[str]) -> dict[str, float]:
    """Margins by metric, as ``PER=0.3``."""
    margins = {}
    for word in words:
        metric, _, text = word.partition("=")
        if not NUMBERS[float][0].fullmatch(text) or metric in margins:
            raise ConfigError(f"--margin takes METRIC=VALUE, such as PER=0.3, once for each metric, but got {word!r}")
        margins[metric] = float(text)
    return margins


def _refuse_unknown(margins: Mapping[str, float], panels: Mapping[str, Panel]) -> None:
    arms = [arm for panel in panels.values() for arm in panel.arms.values()]
    metrics = dict.fromkeys(metric for arm in arms for metric in arm.reported)
    known = list(dict.fromkeys(metric.name for metric in metrics))
    for metric in renamed(margins, metrics):
        if metric not in known:
            raise ConfigError(f"--margin is of one of the metrics, but got {metric!r}; {nearest(metric, known)}")


def _groups(words: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Arms by their group's baseline, as ``"tagger ML=tagger RML,tagger smoothing"``."""
    groups = {}
    for word in words:
        baseline, _, arms = word.partition("=")
        names = tuple(arm.strip() for arm in arms.split(","))
        if not all(names) or baseline in groups:
            raise ConfigError(f"--group takes BASELINE=ARM,ARM, once for each baseline, but got {word!r}")
        groups[baseline] = names
    return groups


def show_plan(given: Compare, plans: Sequence[Plan], executor: Executor | None, console: Console) -> None:
    """Print what a comparison would run, how long it should take, and why some arms cannot be rehearsed."""
    cost, failed = costs(plans, root=given.root, workers=given.workers, device=given.device, executor=executor)
    todo = unfinished(plans)
    every = list(dict.fromkeys((*(run for plan in plans for run in plan.runs), *todo)))
    costs_of = {run.folder: cost[run.label] for run in every if run.label in cost}  # panels may share runs
    states = ("finished", "to be resumed", "to be run")
    rows = []
    for label in dict.fromkeys(run.label for run in every):
        runs = [run for run in every if run.label == label]
        known = next((costs_of[run.folder] for run in runs if run.folder in costs_of), None)
        takes = "not known" if known is None else f"about {duration(known.seconds)}"
        rows.append((label, *(str(sum(run.state == state for run in runs)) for state in states), takes))
    show_table(console, ("arm", *states, "one run takes"), rows)
    for label, why in failed.items():
        console.print(f"{label} would fail: {why}", soft_wrap=True, markup=False)
    total = len({run.folder for run in every})
    if not todo:
        console.print(f"All {total} runs are finished; only the report is left to write")
        return
    processes = 1 if executor is not None else min(given.workers or os.cpu_count() or 1, len(todo))
    left = Forecast(jobs(todo), processes, cost).left()
    takes = "in a time that no rehearsal could tell," if left is None else f"about {duration(left)}"
    place = counted(processes, "process", "processes") if executor is None else "one worker of the cluster"
    console.print(f"{len(todo)} of {total} runs to do, {takes} on {place}")
    if line := memory_line(cost):
        console.print(line, soft_wrap=True, markup=False)


def memory_line(costs: Mapping[str, Cost]) -> str:
    """What the run that needs most memory needs; empty if no rehearsal has measured any."""
    measured = {label: cost.memory for label, cost in costs.items() if cost.memory is not None}
    if not measured:
        return ""
    label = max(measured, key=lambda each: measured[each].total)
    return f"A run of {label} needs most memory, up to {measured[label]} besides Python, PyTorch and the data"


def load_arms(name: str) -> dict[str, Experiment]:
    """The arms that ``experiments()`` of a module (``package.module``) or file (``path.py``) returns.

    Raises:
        ConfigError: the module does not exist or cannot be imported, or it has no ``experiments()`` that returns
            experiments by name.
    """
    make = getattr(imported(name), "experiments", None)
    if not callable(make):
        raise ConfigError(
            f"{name} must define experiments(), returning experiments by the names of their arms, or panels(), "
            "returning several such comparisons"
        )
    return _arms(called(make, f"{name}: experiments()"), f"{name}: experiments() must return")


def load_panels(name: str) -> dict[str, Panel]:
    """The panels that ``panels()`` of a module or file returns; else its arms as one panel with the empty name.

    Raises:
        ConfigError: as `load_arms`; or the module defines both functions, or ``panels()`` does not return panels by
            name.
    """
    module = imported(name)
    make = getattr(module, "panels", None)
    if not callable(make):
        return {"": Panel(arms=load_arms(name))}
    if getattr(getattr(module, "experiments", None), "__module__", None) == module.__name__:  # not imported
        raise ConfigError(f"{name} defines both panels() and experiments(), but one of them is compared; leave one out")
    made = called(make, f"{name}: panels()")
    if not isinstance(made, dict) or not all(
        isinstance(panel, str) and isinstance(each, Panel) for panel, each in made.items()
    ):
        raise ConfigError(f"{name}: panels() must return a dict of names and Panels, but got {made!r:.80}")
    for panel, each in made.items():
        _arms(each.arms, f"{name}: the arms of the panel {panel!r} must be")
    return made


def _arms(made: object, expected: str) -> dict[str, Experiment]:
    if isinstance(made, dict) and all(isinstance(arm, str) and isinstance(e, Experiment) for arm, e in made.items()):
        return made
    raise ConfigError(f"{expected} a dict of names and Experiments, but got {made!r:.80}")


def render(given: MakeReport, console: Console) -> None:
    """Write every file of the report of some runs, or of stored results, which stay unchanged."""
    first = given.given[0]
    alone = len(given.given) == 1 and (results_file(first).is_file() or not is_run(named(first).path))
    folder = given.to or (Path("reports", results_file(first).resolve().parent.name) if alone else Path("reports/runs"))
    refuse_others(folder, *(() if alone else (CSV,)))
    if alone:
        if given.baseline is not None:
            raise ConfigError(
                "--baseline applies to reports made from runs; a results.json has its own, so leave it out"
            )
        if given.examples is not None:
            raise ConfigError(
                "--examples applies to reports made from runs; a results.json has its own, so leave it out"
            )
        file = results_file(first)
        kept, text = kept_in(file), file.read_text(encoding="utf-8")
        document = kept.document()
        others = kept.extras(document, given.figures or ()) if isinstance(kept, Report | PanelsReport) else {}
        if given.figures and not others:
            raise ConfigError(
                f"{file}: --figures is of comparisons, but this report is of something else; leave it out"
            )
        written = write_files(folder, document, text, others)
    else:
        runs = [Run.load(path) for path in given.given]
        report = of_runs(runs, given.baseline, examples=given.examples or "licensed").after_looks(folder)
        report.show(console)
        written = report.write(folder, given.figures or ())
    console.print("Report: " + ", ".join(map(str, written)), soft_wrap=True)


def kept_in(file: Path) -> Tuning | PanelsReport | Across | Report:
    """The report in a ``results.json``.

    Raises:
        RunError: the file cannot be read, or is not from a report.
        ConfigError: this version of the code cannot construct an experiment in it.
    """
    tree = results_in(file)
    if "studies" in tree:
        return Tuning.read(file)
    if "panels" in tree:
        return PanelsReport.read(file)
    if "tasks" in tree:
        return Across.read(file)
    return Report.read(file)


def refuse_incomparable(repeated: Sequence[Repeated], file: Path) -> None:
    """Refuse to compare runs that learned from other data, or that have no score in common.

    Raises:
        RunError: as said.
    """
    for each in repeated:
        where = f" of {each.comparison}" if each.comparison else ""
        if each.same_data is False:
            raise RunError(
                f"the data{where} are not those of {file}, so its scores cannot be compared; restore the files, whose "
                "SHA-256 it holds under material"
            )
        if not each.compared:
            raise RunError(
                f"{file} holds {', '.join(each.missing)} of {each.arm}, seed {each.seed}, none of which the task "
                "computes here, so nothing can be compared; name its metrics as they were"
            )


def repeat(given: Reproduce, console: Console) -> None:
    """Train the runs of a stored comparison again, and say of each arm whether its scores are the stored ones."""
    file = results_file(given.given)
    kept = kept_in(file)
    if isinstance(kept, Tuning):
        raise ConfigError(f"{file} must hold a comparison to be reproduced, but it holds a tuning; run that again")
    reports = {"": kept} if isinstance(kept, Report) else kept.reports
    folder_to_write(given.root, of_runs=True)
    repeated = reproduce(
        reports, arms=given.arms, seeds=given.seeds, root=given.root, workers=given.workers, device=given.device
    )
    rows = []
    for name, arm in dict.fromkeys((each.comparison, each.arm) for each in repeated):
        runs = [each for each in repeated if (each.comparison, each.arm) == (name, arm)]
        same = sum(not run.different for run in runs)
        rows.append((f"{name}: {arm}" if name else arm, f"{same} of {len(runs)}"))
    show_table(console, ("arm", "runs with equal scores"), rows)
    refuse_incomparable(repeated, file)
    missing = list(dict.fromkeys(name for each in repeated for name in each.missing))
    if missing:
        console.print(f"Not compared, as the tasks do not compute them here: {', '.join(missing)}", soft_wrap=True)
    others = [each for each in repeated if each.different]
    if not others:
        console.print(f"{len(repeated)} of {len(repeated)} runs have the scores of {file}, bit for bit", soft_wrap=True)
        return
    first = others[0]
    what, (stored, here) = next(iter(first.different.items()))
    versions = first.kept.trainer, first.found.trainer
    advice = "compare the versions and the platform in its environment, and the code of your own components, with yours"
    if versions[0] != versions[1]:
        advice = f"it was trained by version {versions[0]} of the trainer, and this is version {versions[1]}"
    raise RunError(
        f"{len(others)} of {len(repeated)} runs have other scores than {file}; first {first.arm}, seed {first.seed}, "
        f"whose {what} is {here!r} and was {stored!r}; {advice}"
    )
