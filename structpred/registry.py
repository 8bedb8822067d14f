"""Names of components for the command line, saved runs and entry points; Python code imports classes instead.

The first lookup in a family imports its home packages and the components that other installed packages offer under the
entry-point group of the same name; nothing is imported before.
"""

import difflib
import importlib
import re
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import TypeVar

from structpred.errors import ConfigError
from structpred.foreign import is_foreign

Class = TypeVar("Class", bound=type)


NAME = re.compile(r"\w[\w.-]*")
"""Names of components: without what separates names, fields and values on the command line."""


def article(noun: str) -> str:
    """A noun with its indefinite article.

    Examples:
        >>> article("objective"), article("Task")
        ('an objective', 'a Task')
    """
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def nearest(word: str, names: list[str]) -> str:
    """The end of a message about an unknown name: the nearest known name, or all of them.

    A name in another spelling comes first, then names that the word abbreviates, then the one with the fewest typos.

    Examples:
        >>> nearest("ml", ["maximum-likelihood", "rml"]), nearest("RML", ["maximum-likelihood", "rml"])
        ("did you mean 'maximum-likelihood'?", "did you mean 'rml'?")
    """
    same = [name for name in names if _plain(name) == _plain(word)][:1]
    close = same or _abbreviated(word, names) or difflib.get_close_matches(word, names, n=1)
    if not close:
        return f"known names are {', '.join(names) or '(none)'}"
    return f"did you mean {' or '.join(map(repr, close))}?"


def _plain(name: str) -> str:
    """The name without case, hyphens and underscores."""
    return name.casefold().strip("-").replace("-", "").replace("_", "")


def _abbreviated(word: str, names: list[str]) -> list[str]:
    """Up to three names whose initials are the word, or else names that begin with it."""
    plain = _plain(word)
    if len(plain) < 2:
        return []
    initials = [name for name in names if _initials(name) == plain]
    return (initials or [name for name in names if _plain(name).startswith(plain)])[:3]


def _initials(name: str) -> str:
    return "".join(part[0] for part in re.split(r"[-_.\s]+", name.casefold()) if part)


class Registry:
    """The classes of one configurable family, by name.

    Args:
        family: the word for one member in messages, such as ``"objective"``.
        group: the entry-point group for other packages, such as ``"structpred.objectives"``.
        homes: the packages with our own members; by default the one named like the group.
    """

    def __init__(self, family: str, group: str, *homes: str) -> None:
        self.family = family
        self.group = group
        self.homes = homes or (group,)
        self._classes: dict[str, type] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[Class], Class]:
        """Class decorator: ``@objectives.register("rml")``.

        Raises:
            ConfigError: the name is none that a command or a saved run can hold, what is registered is no class of the
                family, or another class has this name; the message says where both come from.
        """
        if not isinstance(name, str) or NAME.fullmatch(name) is None:
            raise ConfigError(
                f"the name of {article(self.family)} must be one word of letters, digits, hyphens, underscores or "
                f'dots, but got {name!r}; write @….register("a-name")'
            )

        def add(cls: Class) -> Class:
            self._check_family(name, cls)
            known = self._classes.get(name)
            if known is not None and _origin(known) != _origin(cls):
                raise ConfigError(
                    f"the {self.family} name {name!r} is registered twice, by {_origin(known)} and by {_origin(cls)}; "
                    "give one of them another name"
                )
            self._classes[name] = cls
            return cls

        return add

    def _check_family(self, name: str, cls: object) -> None:
        family = getattr(cls, "family", self)
        if not isinstance(cls, type) or family is not self:
            kind = "a class" if not isinstance(family, Registry) or family is self else article(family.family)
            found = f"{_origin(cls)}, which is {kind}" if isinstance(cls, type) else repr(cls)
            raise ConfigError(
                f"the {self.family} {name!r} must be a class derived from that of every {self.family}, but got "
                f"{found}; register it in its own family"
            )

    def __getitem__(self, name: str) -> type:
        self._load()
        if name not in self._classes:
            raise ConfigError(f"there is no {self.family} named {name!r}; {nearest(name, list(self))}")
        return self._classes[name]

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(sorted(self._classes))

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._classes

    def name_of(self, cls: type) -> str | None:
        """The name a class was registered under, or None."""
        if cls not in self._classes.values():
            self._load()  # an entry point alone may name it
        return next((name for name, known in self._classes.items() if known is cls), None)

    def classes(self) -> tuple[type, ...]:
        """The classes registered so far; nothing is imported."""
        return tuple(self._classes.values())

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True  # before the imports, which may look up names themselves
        try:
            self._import_members()
        except BaseException:
            self._loaded = False  # or the next lookup would know only half of the names
            raise

    def _import_members(self) -> None:
        for home in self.homes:
            importlib.import_module(home)
        for entry in entry_points(group=self.group):
            try:
                member = entry.load()
            except Exception as error:  # noqa: BLE001 - another package must not break ours
                warnings.warn(
                    f"the {self.family} {entry.name!r} offered by {entry.value} cannot be imported: {error}",
                    stacklevel=4,
                )
                continue
            if isinstance(member, type):
                self.register(entry.name)(member)


def _origin(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


tasks = Registry("task", "structpred.tasks")
models = Registry("model", "structpred.models", "structpred.models", "structpred.pretrained")
inputs = Registry("input", "structpred.inputs", "structpred.models", "structpred.pretrained")
spellings = Registry("spelling", "structpred.spellings", "structpred.models")
objectives = Registry("objective", "structpred.objectives")
rewards = Registry("reward", "structpred.rewards")
payoffs = Registry("payoff", "structpred.payoffs")
metrics = Registry("metric", "structpred.metrics")
base_measures = Registry("base measure", "structpred.base_measures", "structpred.objectives")
estimators = Registry("estimator", "structpred.estimators", "structpred.objectives")
baselines = Registry("baseline", "structpred.baselines", "structpred.objectives")
candidate_sets = Registry("candidate set", "structpred.candidate_sets", "structpred.objectives")
optimisers = Registry("optimiser", "structpred.optimisers", "structpred.training")
schedules = Registry("schedule", "structpred.schedules", "structpred.training")

FAMILIES = tuple(value for value in vars().values() if isinstance(value, Registry))


def foreign_classes() -> tuple[type, ...]:
    """The registered classes from outside this package."""
    return tuple(cls for family in FAMILIES for cls in family.classes() if is_foreign(cls))
