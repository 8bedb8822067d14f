"""Experiments from a Python module or file that a user wrote."""

from collections.abc import Callable

from structpred.blame import told
from structpred.comparison.panels import Panel
from structpred.errors import ConfigError, StructpredError
from structpred.experiment import Experiment
from structpred.imports import imported
from structpred.tuning.spaces import Space


def load_arms(name: str) -> dict[str, Experiment]:
    """The arms that a module (``package.module``) or a file (``path.py``) returns from its ``experiments()``.

    Raises:
        ConfigError: there is no such module, it cannot be imported, or it has no ``experiments()`` that returns
            experiments by name.
    """
    make = getattr(imported(name), "experiments", None)
    if not callable(make):
        raise ConfigError(
            f"{name} must define experiments(), returning experiments by the names of their arms, or panels(), "
            "returning several such comparisons"
        )
    return _arms(_called(make, f"{name}: experiments()"), f"{name}: experiments() must return")


def load_panels(name: str) -> dict[str, Panel]:
    """The panels that a module or a file returns from its ``panels()``; else its arms as one panel without a name.

    Raises:
        ConfigError: as `load_arms`; or there are both functions, or ``panels()`` returns something else than panels of
            experiments by name.
    """
    module = imported(name)
    make = getattr(module, "panels", None)
    if not callable(make):
        return {"": Panel(arms=load_arms(name))}
    if getattr(getattr(module, "experiments", None), "__module__", None) == module.__name__:  # its own, not imported
        raise ConfigError(f"{name} defines both panels() and experiments(), but one of them is compared; leave one out")
    made = _called(make, f"{name}: panels()")
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


def load_spaces(name: str) -> Space | dict[str, Space]:
    """The function ``space(trial)`` of a module or a file, or the spaces by name that its ``spaces()`` returns.

    Raises:
        ConfigError: there is no such module, it cannot be imported, or it has neither.
    """
    module = imported(name)
    one: Space | None = getattr(module, "space", None)
    if callable(one):
        return one
    make = getattr(module, "spaces", None)
    if not callable(make):
        raise ConfigError(f"{name} must define space(trial), returning an Experiment, or spaces(), returning several")
    made = _called(make, f"{name}: spaces()")
    if not isinstance(made, dict) or not made or not all(callable(each) for each in made.values()):
        raise ConfigError(f"{name}: spaces() must return a dict of names and functions, but got {made!r:.80}")
    return made


def _called(make: Callable[[], object], what: str) -> object:
    """What somebody's function returns."""
    try:
        return make()
    except StructpredError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{what} failed with {told(error)}") from error
