"""What a study shows, in plain sentences that claim no more than the data do."""

from collections.abc import Mapping

from structpred.comparison.sentences import joined
from structpred.comparison.statistics import LEVEL, fixed
from structpred.tuning.analysis import Optimum, noise, optimum
from structpred.tuning.outcomes import Result, conventions
from structpred.tuning.search import Search
from structpred.tuning.wording import number, seeds, short


def conclusion(result: Result) -> tuple[str, ...]:
    """A headline, then where the optimum of each number lies."""
    best = result.best
    if best is None:
        first = next((each.reason for each in result.outcomes if each.reason), "none has run yet")
        return (f"No trial of {result.name} has finished: {first}",)
    headline = (
        f"{result.name}: the best of {len(result.finished)} finished trials has {_values(best.parameters)}, with dev "
        f"{result.metric.name} {fixed(best.mean)} over {seeds(len(best.fresh))}."
    )
    found = [each for name in result.numeric() if (each := optimum(result, name)) is not None]
    return (headline, *(_where(each, result) for each in found), *_temperature(result))


def _where(found: Optimum, result: Result) -> str:
    name, best = short(found.parameter), number(found.best)
    ends = f"{number(found.ends[0])} to {number(found.ends[1])}"
    if found.verdict == "no noise known":
        return (
            f"{name}: the best value tried, {best}, lies inside the range {ends}, but the data cannot tell whether the "
            f"optimum does: {_why_no_noise(result)}."
        )
    interval = _interval(found)
    if found.verdict == "interior":
        return (
            f"{name}: the optimum is interior. {interval}; trials below and above are shown to be worse, within the "
            f"range {ends}."
        )
    if found.verdict == "at the edge":
        return (
            f"{name}: the best value, {best}, is the outermost one tried within {ends}, so the optimum may lie "
            f"beyond; widen the range. {interval}."
        )
    open_side = joined([side for side, is_open in _sides(found, result) if is_open])
    return (
        f"{name}: the best value tried, {best}, lies inside the range {ends}, but the data cannot tell whether the "
        f"optimum does: nothing tried at the {open_side} end is shown to be worse. {interval}."
    )


def _why_no_noise(result: Result) -> str:
    several = any(len(each.fresh) > 1 for each in result.finished)
    if several:
        return "seeds that should tell how much they matter all score the same"
    return "no trial ran under two seeds, which would tell how much they matter"


def _sides(found: Optimum, result: Result) -> list[tuple[str, bool]]:
    tried = [float(each.parameters[found.parameter]) for each in result.finished if found.parameter in each.parameters]
    return [("lower", found.low == min(tried)), ("upper", found.high == max(tried))]


def _interval(found: Optimum) -> str:
    if found.low is None or found.high is None:
        return "No interval can be given"
    return f"Not distinguishable from the best are values from {number(found.low)} to {number(found.high)}"


def _temperature(result: Result) -> tuple[str, ...]:
    found = conventions(result.experiment, result.labels)
    if found is None:
        return ()
    parts = {"literal": found.literal, "rescaled": found.rescaled, "edit rate": found.edit_rate}
    told = [f"{name} {number(value)}" for name, value in parts.items() if value is not None]
    return (f"The best temperature is τ* = {', or '.join(told)}, over {result.labels} labels.",)


def budget(results: tuple[Result, ...]) -> tuple[str, ...]:
    """What was spent, and whether all studies had the same."""
    search = results[0].search
    same = (
        f"Every one of the {len(results)} studies had the same budget: {_budget(search)}."
        if len(results) > 1
        else f"The budget was {_budget(search)}."
    )
    return (same, *(_spent(result) for result in results))


def _budget(search: Search) -> str:
    more = f", then {seeds(search.more_seeds)} more for the best {search.finalists}" if search.finalists else ""
    trials = f"{search.trials} trials of {seeds(len(search.seeds))} each{more}"
    time = "" if search.timeout is None else f", within {search.timeout:,.0f} seconds"
    return f"{trials}{time}; sampler {search.sampler}, pruner {search.pruner}"


def _spent(result: Result) -> str:
    states = [f"{count} {state}" for state in ("finished", "pruned", "failed") if (count := result.count(state))]
    left = result.count("running") + result.count("waiting")
    unfinished = f"; {left} not run to their end" if left else ""
    put_back = f"; {result.given_up} put back after a worker had died or been stopped" if result.given_up else ""
    return f"{result.name}: {joined(states) if states else 'no trial'}{unfinished}{put_back}."


def notes(result: Result) -> tuple[str, ...]:
    """How to read the numbers."""
    name = result.metric.name
    seen = noise(result.finished)
    return (
        f"All numbers are of the dev set, which chose the trials: they flatter the best one. Quote the test {name} of "
        "a comparison under seeds that took no part here.",
        f"{result.metric.name} is {result.metric.signature}, in percent.",
        *(() if not result.search.finalists else (_fresh(),)),
        "Nothing tells how much seeds matter, so no trial can be told from another."
        if seen is None
        else (
            f"A trial counts as worse than the best where the difference exceeds t · s · √(1/n + 1/n'), one-sided, at "
            f"the {100 * LEVEL:.0f} % level over all trials together (Bonferroni); s = {fixed(seen.deviation)} is the "
            f"pooled standard deviation between seeds, with {seen.freedom} degrees of freedom."
        ),
        "Pruned trials have no final score and are compared with nothing.",
    )


def _fresh() -> str:
    return (
        "Trials that were run under more seeds stand by the mean over these alone: the seeds before chose them, and "
        "would flatter them."
    )


def _values(parameters: Mapping[str, object]) -> str:
    return joined([f"{short(name)} {number(value)}" for name, value in parameters.items()])
