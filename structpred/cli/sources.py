"""Experiments from a Python module or file that a user wrote."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from structpred.errors import ConfigError
from structpred.experiment import Experiment


def load_arms(name: str) -> dict[str, Experiment]:
    """The arms that a module (``package.module``) or a file (``path.py``) returns from its ``experiments()``.

    Raises:
        ConfigError: there is no such module, it cannot be imported, or it has no ``experiments()`` that returns
            experiments by name.
    """
    module = _from_file(Path(name)) if name.endswith(".py") else _from_name(name)
    make = getattr(module, "experiments", None)
    if not callable(make):
        raise ConfigError(f"{name} must define experiments(), returning experiments by the names of their arms")
    made = make()
    if not isinstance(made, dict) or not all(isinstance(each, Experiment) for each in made.values()):
        raise ConfigError(f"{name}: experiments() must return a dict of names and Experiments, but got {type(made)}")
    return made


def _from_name(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f"{name} cannot be imported ({error}); give a module's dotted name or a .py file") from None


def _from_file(path: Path) -> ModuleType:
    """Import a file under its own name, so that the worker processes can import it too."""
    if not path.exists():
        raise ConfigError(f"{path}: there is no such file; give a .py file with experiments() in it")
    sys.path.insert(0, str(path.resolve().parent))
    return _from_name(path.stem)
