"""Which trials the data can tell from the best one, and sentences that claim no more than that."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from structpred.report.document import joined
from structpred.statistics import LEVEL, Noise, fixed
from structpred.text import counted
from structpred.tuning.outcomes import Outcome, Result
from structpred.tuning.search import Numeric, Search

Verdict = Literal["interior", "tied", "few", "at the edge", "outermost", "cannot tell", "no noise known"]
NEAR = 0.1
"""A value is near an end of its range within this share of the range, on the range's own scale."""
ENOUGH = 5
"""Different values that must have been tried before an end of the range is called too narrow."""


@dataclass(frozen=True)
class Optimum:
    """Where the best value of a number lies.

    Attributes:
        parameter: its name.
        best: the value of the best trial.
        low, high: the smallest and the largest value of a trial that is not shown to be worse than the best; None
            where nothing tells how much seeds matter.
        ends: the range searched.
        tried: the smallest and the largest value of a finished trial.
        verdict: ``"interior"`` where trials on both sides are shown to be worse, so that the ends of the range are
            ruled out as far as they were tried; else ``"tied"`` where trials of different values score the same as the
            best; ``"few"`` where the best value is the outermost of few; ``"at the edge"`` where it is the outermost
            and near an end of the range; ``"outermost"`` where it is far from both ends; ``"no noise known"`` where
            nothing tells how much seeds matter; ``"cannot tell"`` otherwise.
    """

    parameter: str
    best: float
    low: float | None
    high: float | None
    ends: tuple[float, float]
    tried: tuple[float, float]
    verdict: Verdict


def not_worse(result: Result) -> tuple[Outcome, ...]:
    """The trials that are not shown to be worse than the best, itself included; empty where no noise is known."""
    finished, best = result.finished, result.best
    seen = Noise.of(each.fresh for each in finished)
    if seen is None or best is None:
        return ()
    sign, compared = -1 if result.metric.higher_is_better else 1, len(finished) - 1
    return tuple(
        each
        for each in finished
        if each is best or sign * (each.mean - best.mean) <= seen.threshold(best.fresh, each.fresh, compared)
    )


def optimum(result: Result, parameter: str) -> Optimum | None:
    """The best value of a numeric parameter; None before any trial has finished."""
    best, finished = result.best, [each for each in result.finished if parameter in each.parameters]
    if best is None or parameter not in best.parameters:
        return None
    values = [float(each.parameters[parameter]) for each in finished]
    kept = not_worse(result)
    near = [value for value, each in zip(values, finished, strict=True) if each in kept]
    low, high = (min(near), max(near)) if near else (None, None)
    distribution = result.numeric()[parameter]
    value, tried = float(best.parameters[parameter]), (min(values), max(values))
    ends = float(distribution.low), float(distribution.high)
    if low is not None and high is not None and tried[0] < low and high < tried[1]:
        verdict: Verdict = "interior"
    elif len({each.parameters.get(parameter) for each in result.tied}) > 1:
        verdict = "tied"
    elif value not in tried:
        verdict = "cannot tell" if near else "no noise known"
    elif len(set(values)) < ENOUGH:
        verdict = "few"
    else:
        place = position(value, distribution)
        beyond = (value == tried[0] and place <= NEAR) or (value == tried[1] and place >= 1 - NEAR)
        verdict = "at the edge" if beyond else "outermost"
    return Optimum(parameter, value, low, high, ends, tried, verdict)


def position(value: float, distribution: Numeric) -> float:
    """Where a value lies in its range, from 0 at the low end to 1 at the high one, on the range's own scale."""
    scale = math.log if distribution.log else float
    low, high = scale(distribution.low), scale(distribution.high)
    return (scale(value) - low) / (high - low) if high > low else 0.0


NAMED = 5
"""Trials that are named where more of them tie."""


def number(value: object) -> str:
    """A parameter's value for people.

    Examples:
        >>> number(0.0412345), number(128), number("rml")
        ('0.0412', '128', 'rml')
    """
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def short(field: str) -> str:
    """A field's own name.

    Examples:
        >>> short("objective.payoff.temperature.edit_rate")
        'edit_rate'
    """
    return field.rpartition(".")[2]


def conclusion(result: Result) -> tuple[str, ...]:
    """A headline, then where the optimum of each number lies."""
    best = result.best
    if best is None:
        first = next((each.reason for each in result.outcomes if each.reason), "none has run yet")
        return (f"No trial of {result.name} has finished: {first}",)
    optima = filter(None, (optimum(result, name) for name in result.numeric()))
    return (_headline(result, best), *(_where(found, result) for found in optima), *_temperature(result))


def _headline(result: Result, best: Outcome) -> str:
    score = f"dev {result.metric.name} {fixed(best.mean)} over {counted(len(best.fresh), 'seed')}"
    count, tied = len(result.finished), len(result.tied)
    if tied == 1:
        return f"{result.name}: the best of {count} finished trials has {told(best.parameters)}, with {score}."
    named = [f"trial {each.number} ({told(each.parameters)})" for each in result.tied[:NAMED]]
    named += [f"{tied - NAMED} more"] if tied > NAMED else []
    return (
        f"{result.name}: {tied} of {count} finished trials tie for the best, with {score}: {joined(named)}. The first "
        "of them is taken; run more trials to tell them apart."
    )


def _where(found: Optimum, result: Result) -> str:
    best, (low, high) = number(found.best), map(number, found.ends)
    side, end = ("lowest", low) if found.best == found.tried[0] else ("highest", high)
    within, tried = f"within the range {low} to {high}", f"the best value, {best}, is the {side} tried and"
    tied = [float(each.parameters[found.parameter]) for each in result.tied if found.parameter in each.parameters]
    unclear = f"the best value tried, {best}, lies {within}, but the data cannot tell whether the optimum does"
    sides = {"lower": found.low == found.tried[0], "upper": found.high == found.tried[1]}
    open_ends = joined([name for name, is_open in sides.items() if is_open])
    same = any(len(each.fresh) > 1 for each in result.finished)
    noiseless = "all seeds score the same" if same else "no trial ran under two seeds, which would tell their noise"
    interval = "No interval can be given"
    if found.low is not None and found.high is not None:
        interval = f"Values from {number(found.low)} to {number(found.high)} are not distinguishable from the best"
    more = f"run more trials. {interval}"
    said = {
        "interior": f"the optimum is interior. {interval}; trials below and above are shown to be worse, {within}",
        "tied": f"trials from {number(min(tied))} to {number(max(tied))} tie for the best {within}; {more}",
        "few": f"the best value, {best}, is the outermost of too few to tell where the optimum lies {within}; {more}",
        "at the edge": f"{tried} near that end of the range {low} to {high}, so the optimum may lie beyond; widen the "
        f"range there. {interval}",
        "outermost": f"{tried} between it and the end of the range at {end} nothing was tried; {more}",
        "no noise known": f"{unclear}: {noiseless}",
        "cannot tell": f"{unclear}: nothing tried at the {open_ends} end is shown to be worse. {interval}",
    }
    return f"{short(found.parameter)}: {said[found.verdict]}."


def _temperature(result: Result) -> tuple[str, ...]:
    found = result.temperature(result.best)
    if found is None:
        return ()
    values = [
        f"{name.replace('_', ' ')} {number(value)}" for name, value in found._asdict().items() if value is not None
    ]
    which = "The best temperature" if len(result.tied) == 1 else "The temperature of the first of those that tie"
    return (f"{which} is τ* = {', or '.join(values)}, over {result.labels} labels.",)


def budget(results: tuple[Result, ...]) -> tuple[str, ...]:
    """The budget, whether it was the same for all studies, and how each study spent it."""
    count, spent = len(results), _budget(results[0].search, [way for each in results for way in each.ways])
    same = f"Every one of the {count} studies had the same budget" if count > 1 else "The budget was"
    ended = {each.name: sum(map(each.count, ("finished", "pruned", "failed"))) for each in results}
    more = [
        f"{name} has {counted(trials, 'trial')}" for name, trials in ended.items() if trials > results[0].search.trials
    ]
    if more:
        return (
            f"The last command asked for {spent}, but earlier ones for more: {joined(more)}.",
            *map(_spent, results),
        )
    return (f"{same}{':' if count > 1 else ''} {spent}.", *map(_spent, results))


def _budget(search: Search, ways: Sequence[str]) -> str:
    more = f", then {counted(search.more_seeds, 'more seed')} for the best {search.finalists}"
    time = "" if search.timeout is None else f", within {search.timeout:,.0f} seconds"
    trials = f"{counted(search.trials, 'trial')} of {counted(len(search.seeds), 'seed')} each"
    by = ", then ".join(dict.fromkeys(ways or [search.way]))
    return f"{trials}{more if search.finalists else ''}{time}; {by}"


def _spent(result: Result) -> str:
    counts = {state: result.count(state) for state in ("finished", "pruned", "failed")}
    ended = joined([f"{count} {state}" for state, count in counts.items() if count])
    left = max(result.total, len(result.outcomes)) - sum(counts.values())
    unfinished = f"; {left} not run to their end" if left else ""
    put_back = f"; {result.given_up} put back after a worker had died or been stopped" if result.given_up else ""
    aim = f"{'maximises' if result.metric.higher_is_better else 'minimises'} dev {result.metric.name}"
    return f"{result.name} {aim}; trials: {ended or 'none'}{unfinished}{put_back}."


def notes(result: Result) -> tuple[str, ...]:
    """How to read the numbers."""
    name, seen = result.metric.name, Noise.of(each.fresh for each in result.finished)
    finalists = (
        "Trials that were run under more seeds are ranked by the mean over those seeds alone: the earlier seeds chose "
        "them and would flatter them."
    )
    differences = "Nothing tells how much seeds matter, so no trial can be told from another."
    if seen is not None:
        differences = (
            "A trial counts as worse than the best where the difference exceeds t · s · √(1/n + 1/n'), one-sided, at "
            f"the {100 * LEVEL:.0f} % level over all trials together (Bonferroni); s = {fixed(seen.deviation)} is the "
            f"pooled standard deviation between seeds, with {seen.freedom} degrees of freedom."
        )
    return (
        "All numbers are from the dev set, which chose the trials, so they flatter the best one. Quote the test "
        f"{name} of a comparison under seeds that took no part here.",
        f"{name} is computed as {result.metric.signature}, in percent.",
        *((finalists,) if result.search.finalists else ()),
        differences,
        f"Final scores come from {_decoding(result)}, scores of stopped trials from greedy decoding after the epoch "
        "given, so the two cannot be compared. Stopped trials are compared with nothing.",
    )


def _decoding(result: Result) -> str:
    """How finished trials were scored, as far as it is the same for all."""
    searches = {each.experiment.search for each in result.finished if each.experiment is not None}
    return searches.pop() if len(searches) == 1 else "each experiment's own decoding"


def told(parameters: Mapping[str, object]) -> str:
    """Parameters with their values, as a sentence lists them."""
    return joined([f"{short(name)} {number(value)}" for name, value in parameters.items()])
