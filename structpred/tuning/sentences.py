"""What a study shows, in plain sentences that claim no more than the data do."""

from collections.abc import Mapping

from structpred.config import leaves
from structpred.report.document import joined
from structpred.statistics import LEVEL, fixed
from structpred.tuning.analysis import Optimum, noise, optimum
from structpred.tuning.outcomes import Outcome, Result, conventions
from structpred.tuning.search import Search
from structpred.tuning.wording import number, seeds, short

NAMED = 5
"""Trials that are named where more of them tie."""


def conclusion(result: Result) -> tuple[str, ...]:
    """A headline, then where the optimum of each number lies."""
    best = result.best
    if best is None:
        first = next((each.reason for each in result.outcomes if each.reason), "none has run yet")
        return (f"No trial of {result.name} has finished: {first}",)
    found = [each for name in result.numeric() if (each := optimum(result, name)) is not None]
    return (_headline(result, best), *(_where(each, result) for each in found), *_temperature(result))


def _headline(result: Result, best: Outcome) -> str:
    score = f"dev {result.metric.name} {fixed(best.mean)} over {seeds(len(best.fresh))}"
    if len(result.tied) == 1:
        return (
            f"{result.name}: the best of {len(result.finished)} finished trials has {_values(best.parameters)}, with "
            f"{score}."
        )
    tied = [f"trial {each.number} ({_values(each.parameters)})" for each in result.tied[:NAMED]]
    if len(result.tied) > NAMED:
        tied.append(f"{len(result.tied) - NAMED} more")
    return (
        f"{result.name}: {len(result.tied)} of {len(result.finished)} finished trials tie for the best, with {score}: "
        f"{joined(tied)}. The first of them is taken; run more trials to tell them apart."
    )


def _where(found: Optimum, result: Result) -> str:
    name, best = short(found.parameter), number(found.best)
    ends = f"{number(found.ends[0])} to {number(found.ends[1])}"
    interval = _interval(found)
    lowest = found.best == found.tried[0]
    end = number(found.ends[0] if lowest else found.ends[1])
    said = {
        "interior": f"the optimum is interior. {interval}; trials below and above are shown to be worse, within the "
        f"range {ends}",
        "tied": f"trials from {_tied_values(found, result)} tie for the best within the range {ends}, so nothing tells "
        f"where the optimum lies; run more trials. {interval}",
        "few": f"the best value, {best}, is the outermost of too few to tell where in the range {ends} the optimum "
        f"lies; run more trials. {interval}",
        "at the edge": f"the best value, {best}, is the {'lowest' if lowest else 'highest'} tried and near that end of "
        f"the range {ends}, so the optimum may lie beyond; widen the range there. {interval}",
        "outermost": f"the best value, {best}, is the {'lowest' if lowest else 'highest'} tried, and between it and "
        f"the end of the range at {end} nothing was tried; run more trials. {interval}",
        "no noise known": f"the best value tried, {best}, lies inside the range {ends}, but the data cannot tell "
        f"whether the optimum does: {_why_no_noise(result)}",
        "cannot tell": f"the best value tried, {best}, lies inside the range {ends}, but the data cannot tell whether "
        f"the optimum does: nothing tried at the {_open_sides(found)} end is shown to be worse. {interval}",
    }
    return f"{name}: {said[found.verdict]}."


def _tied_values(found: Optimum, result: Result) -> str:
    values = [float(each.parameters[found.parameter]) for each in result.tied if found.parameter in each.parameters]
    return f"{number(min(values))} to {number(max(values))}"


def _open_sides(found: Optimum) -> str:
    sides = {"lower": found.low == found.tried[0], "upper": found.high == found.tried[1]}
    return joined([side for side, is_open in sides.items() if is_open])


def _why_no_noise(result: Result) -> str:
    several = any(len(each.fresh) > 1 for each in result.finished)
    if several:
        return "seeds that should tell how much they matter all score the same"
    return "no trial ran under two seeds, which would tell how much they matter"


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
    which = "The best temperature" if len(result.tied) == 1 else "The temperature of the first of those that tie"
    return (f"{which} is τ* = {', or '.join(told)}, over {result.labels} labels.",)


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
    left = max(result.total, len(result.outcomes)) - sum(map(result.count, ("finished", "pruned", "failed")))
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
        f"Final scores are by {_decoding(result)}, and those of trials that were stopped by greedy decoding after the "
        "epoch given; they do not compare. Stopped trials are compared with nothing.",
    )


def _decoding(result: Result) -> str:
    """How finished trials were scored, as far as it is the same for all."""
    rules = {each.experiment.decoding for each in result.finished if each.experiment is not None}
    if len(rules) != 1:
        return "each experiment's own decoding"
    (decoding,) = rules
    return f"the experiment's own decoding ({', '.join(f'{name} {value}' for name, value in leaves(decoding))})"


def _fresh() -> str:
    return (
        "Trials that were run under more seeds stand by the mean over these alone: the seeds before chose them, and "
        "would flatter them."
    )


def _values(parameters: Mapping[str, object]) -> str:
    return joined([f"{short(name)} {number(value)}" for name, value in parameters.items()])
