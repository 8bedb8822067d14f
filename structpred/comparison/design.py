"""How a comparison is decided: by which test, against what, and within which margin. Chosen before results are seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from numbers import Real
from typing import Literal

from structpred.errors import ConfigError
from structpred.registry import nearest
from structpred.results import Measure, renamed
from structpred.statistics import MARGIN, Rule
from structpred.values import coerce, refuse

Pair = tuple[str, str]
"""An arm and the arm it is compared with."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """How a comparison is decided.

    Attributes:
        rule: ``"fixed"`` where the number of seeds was fixed before the first result was seen, so that Student's paired
            t test carries the verdict; ``"anytime"`` where seeds were added after a look.
        margins: by a metric's name, or a former one, the largest difference that counts as none, in the metric's unit,
            percentage points as a rule; `structpred.statistics.MARGIN` for a metric that is not named.
        pairs: ``"baseline"`` compares every arm with its baseline, ``"all"`` every two arms.
        groups: baselines of their own for some of the arms: by a baseline's name the arms that are compared with it.
            Every other arm is compared with the comparison's baseline, the groups' baselines with nothing.
    """

    rule: Rule = "fixed"
    margins: Mapping[str, float] = field(default_factory=dict)
    pairs: Literal["baseline", "all"] = "baseline"
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def margin(self, metric: str) -> float:
        """δ of a metric."""
        return self.margins.get(metric, MARGIN)

    def references(self, arms: Sequence[str], baseline: str) -> dict[str, str]:
        """By the name of every arm that is compared with one baseline, in the arms' order, that baseline."""
        own = {arm: reference for reference, members in self.groups.items() for arm in members}
        rest = {arm: baseline for arm in arms if arm != baseline and arm not in self.groups}
        return {arm: own.get(arm, baseline) for arm in arms if arm in own or arm in rest}

    def family(self, arms: Sequence[str], baseline: str) -> tuple[Pair, ...]:
        """Every pair that is tested, with one correction over all of them."""
        first = tuple(self.references(arms, baseline).items())
        if self.pairs == "baseline":
            return first
        others = [arm for arm in arms if arm != baseline]
        return (*first, *((later, earlier) for earlier, later in combinations(others, 2)))

    def _check_kinds(self) -> None:
        coerce(self.rule, Rule, "Design.rule")
        coerce(self.pairs, Literal["baseline", "all"], "Design.pairs")
        for what, given in (("margins", self.margins), ("groups", self.groups)):
            if not isinstance(given, Mapping):
                refuse(f"Design.{what}", "a dictionary", given)
        for name, arms in self.groups.items():
            if not isinstance(arms, tuple | list):
                refuse(f"Design.groups[{name!r}]", "the names of arms in a tuple", arms)

    def checked(self, arms: Sequence[str], baseline: str, metrics: Sequence[Measure]) -> "Design":
        """The design with the present names of metrics, once it is sure that it fits a comparison.

        Raises:
            ConfigError: a margin of an unknown metric or not above 0, a group of unknown arms, an arm in two groups, or
                groups together with all pairs.
        """
        self._check_kinds()
        names, margins = [metric.name for metric in metrics], renamed(self.margins, metrics)
        for metric, margin in margins.items():
            if metric not in names:
                raise ConfigError(f"a margin is of one of the metrics, but got {metric!r}; {nearest(metric, names)}")
            if not isinstance(margin, Real) or not 0 < margin < float("inf"):
                raise ConfigError(f"the margin of {metric} must be a number above 0, but got {margin!r}; correct it")
        if self.groups and self.pairs == "all":
            raise ConfigError("all pairs are compared without groups; leave out either")
        members = [arm for group in self.groups.values() for arm in group]
        for arm in (*self.groups, *members):
            if arm not in arms:
                raise ConfigError(f"groups are of arms of the comparison, but got {arm!r}; {nearest(arm, list(arms))}")
        for arm in members:
            if members.count(arm) > 1 or arm in self.groups or arm == baseline:
                raise ConfigError(
                    f"an arm is compared with one baseline, but {arm!r} has several, or is one itself; correct the "
                    "groups"
                )
        return replace(self, margins=margins)


DEFAULT = Design()
