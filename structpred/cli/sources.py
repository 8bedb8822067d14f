"""Experiments from a Python module or file that a user wrote."""

import importlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from structpred.errors import ConfigError, StructpredError
from structpred.experiment import Experiment
from structpred.tuning.spaces import Space


def load_arms(name: str) -> dict[str, Experiment]:
    """The arms that a module (``package.module``) or a file (``path.py``) returns from its ``experiments()``.

    Raises:
        ConfigError: there is no such module, it cannot be imported, or it has no ``experiments()`` that returns
            experiments by name.
    """
    make = getattr(_module(name), "experiments", None)
    if not callable(make):
        raise ConfigError(f"{name} must define experiments(), returning experiments by the names of their arms")
    made = _called(make, f"{name}: experiments()")
    if not isinstance(made, dict) or not all(isinstance(each, Experiment) for each in made.values()):
        raise ConfigError(f"{name}: experiments() must return a dict of names and Experiments, but got {made!r:.80}")
    return made


def load_spaces(name: str) -> Space | dict[str, Space]:
    """The function ``space(trial)`` of a module or a file, or the spaces by name that its ``spaces()`` returns.

    Raises:
        ConfigError: there is no such module, it cannot be imported, or it has neither.
    """
    module = _module(name)
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
    except Exception as error:
        raise ConfigError(f"{what} failed with {_told(error)}") from error


def _module(name: str) -> ModuleType:
    return _from_file(Path(name)) if name.endswith(".py") else _from_name(name)


def _from_name(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except StructpredError:
        raise
    except ModuleNotFoundError as error:
        raise ConfigError(f"{name} cannot be imported ({error}); give a module's dotted name or a .py file") from None
    except Exception as error:
        raise ConfigError(f"{name} cannot be imported, because of {_told(error)}") from error


def _from_file(path: Path) -> ModuleType:
    """Import a file under its own name, so that the worker processes can import it too."""
    if not path.exists():
        raise ConfigError(f"{path}: there is no such file; give the path of a .py file")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = _from_name(path.stem)
    if Path(module.__file__ or "").resolve() != path.resolve():
        raise ConfigError(f"{path} has the name of another module, {module.__file__}; give it a name of its own")
    return module


def _told(error: Exception) -> str:
    """A mistake in a user's Python file, with its line."""
    if isinstance(error, SyntaxError):
        return f"a syntax error in line {error.lineno} of {error.filename}: {error.msg}"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in line {frame.lineno} of {frame.filename}: {error}"
