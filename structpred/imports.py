"""Import users' modules and files, and find them again for a saved run or another process."""

import importlib
import importlib.util
import inspect
import shlex
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import FunctionType, ModuleType

from structpred.blame import error_message
from structpred.errors import ConfigError, StructpredError


def imported(name: str) -> ModuleType:
    """Import a module by its dotted name or ``.py`` file, such that worker processes can import it too.

    A dotted name is looked up on the Python path, then in the current folder. A file in a package is imported as a
    module of that package.

    Raises:
        ConfigError: there is no such module, or importing it fails; the message names the file and the line.
    """
    if name.endswith(".py"):
        return _from_file(Path(name))
    if not all(part.isidentifier() for part in name.split(".")):
        raise ConfigError(f"expected a module's dotted name or a .py file, but got {name!r}")
    if _spec(name.partition(".")[0]) is None:
        _look_in(Path.cwd(), first=False)
    return _from_name(name)


def called(make: Callable[[], object], what: str) -> object:
    """Call a user's function.

    Raises:
        ConfigError: it raised an exception; the message names the file and the line.
    """
    try:
        return make()
    except StructpredError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{what} failed with {error_message(error)}") from error


def sources_of(classes: Iterable[type]) -> list[str]:
    """The files or installed modules to import so that these foreign classes are registered.

    Classes defined in a notebook or at a prompt have no file and are left out.
    """
    modules = {cls.__module__ for cls in classes if cls.__module__.partition(".")[0] != "structpred"}
    return sorted(filter(None, map(_source, modules)))


def way_back(record: Mapping[str, object]) -> str:
    """How to import a run's missing foreign components, as a message; empty if none is missing.

    Args:
        record: the run's record, with ``modules`` and, except in old runs, ``imports``.
    """
    modules = _texts(record.get("modules"))
    foreign = [module for module in modules if module.partition(".")[0] != "structpred"]
    absent = [_known_as(module) for module in foreign if module == "__main__" or module not in sys.modules]
    if not absent:
        return ""
    made = f"this run was made with {', '.join(absent)}"
    sources = _texts(record.get("imports"))
    missing = [source for source in sources if source.endswith(".py") and not Path(source).is_file()]
    if not sources:
        return f"{made}: add --import FILE with the file that defines it (in Python: import that first)"
    if missing:
        return f"{made}, and {', '.join(missing)} is no longer there: add --import FILE with the place where it is now"
    options = " ".join(f"--import {shlex.quote(source)}" for source in sources)
    return f"{made}: add {options}, which runs that code (in Python: import it first)"


def _known_as(module: str) -> str:
    return "the script or notebook that defined its components" if module == "__main__" else module


def check_importable(needed: Iterable[type | FunctionType], who: str) -> None:
    """Refuse classes and functions that another process cannot import.

    Args:
        needed: the classes and functions.
        who: the process that needs them, such as ``"2 worker processes"``.

    Raises:
        ConfigError: one was defined in a notebook, at a prompt, in a function, or in a module without a file.
    """
    for one in needed:
        if reason := _not_importable(one):
            raise ConfigError(
                f"{who} cannot import {one.__qualname__}, because {reason}; put it into a .py file and import it from "
                "there, or use one worker, which runs in this process"
            )


def importable_name(one: Callable[..., object], what: str) -> str:
    """``module:name`` of a callable, by which it can be imported again.

    Args:
        one: the callable.
        what: its role for the message, such as ``"a reward"``.

    Raises:
        ConfigError: it has no such name, like a lambda, a closure or a bound method.
    """
    module, name = getattr(one, "__module__", None), getattr(one, "__qualname__", None) or _global_name(one)
    if name is not None and "<lambda>" in name:
        why = "a lambda has no name"
    elif name is not None and "<locals>" in name:
        why = f"{name.rpartition('.')[2]} is defined inside a function"
    elif name is None or not _is(one, module, name):
        why = f"{name or type(one).__name__} is not what {module}:{name} is" if name else f"{one!r:.60} has no name"
    else:
        return f"{module}:{name}"
    raise ConfigError(
        f"{what} must be importable, so that saved runs and other processes find it again, but {why}; define it by def "
        "at the top level of a .py file, and pass it or its name, as in 'my_module:my_function'"
    )


def _global_name(one: object) -> str | None:
    """The global name of an object in the module of its class."""
    module = sys.modules.get(type(one).__module__)
    return next((name for name, value in vars(module).items() if value is one), None) if module else None


def _is(one: object, module: str | None, name: str) -> bool:
    found: object = sys.modules.get(module or "")
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is one


def _not_importable(one: type | FunctionType) -> str:
    """The reason why another process cannot import a class or function; empty if it can."""
    if "<locals>" in one.__qualname__:
        return "it is defined inside a function"
    if one.__module__ == "__main__":
        return "" if _in_a_script(one) else "it is defined in a notebook or at a prompt"
    if _spec(one.__module__) is None:
        return f"its module {one.__module__} is in no file on the Python path"
    return ""


def _in_a_script(one: type | FunctionType) -> bool:
    """True if the file of the main program defines it, so that a process that runs this file again has it too."""
    try:
        return bool(inspect.getsource(one))
    except (OSError, TypeError):  # no file, or not in it
        return False


def _spec(name: str) -> object:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):  # ValueError: a module without a spec, made by hand
        return None


def _source(module: str) -> str | None:
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return None
    path = Path(file).resolve()
    installed = (sysconfig.get_path(name) for name in ("purelib", "platlib"))
    if path.suffix != ".py" or any(path.is_relative_to(Path(folder).resolve()) for folder in installed):
        return None if module == "__main__" else module
    return str(path)


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _from_name(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except StructpredError:
        raise
    except ModuleNotFoundError as error:
        why = "its name does not end in .py" if Path(name).is_file() else error
        raise ConfigError(f"{name} cannot be imported ({why}); give a module's dotted name or a .py file") from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{name} cannot be imported, because of {error_message(error)}") from error


def _from_file(path: Path) -> ModuleType:
    """Import a file under its own name."""
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file; give the path of a .py file")
    if "." in path.stem:
        raise ConfigError(
            f"{path} cannot be imported, because of the dot in its name; call it {path.stem.replace('.', '_')}.py"
        )
    folder, name = path.resolve().parent, path.stem
    while (folder / "__init__.py").is_file():  # part of a package, to which its relative imports refer
        folder, name = folder.parent, f"{folder.name}.{name}"
    _look_in(folder)
    module = _from_name(name.removesuffix(".__init__"))
    if Path(module.__file__ or "").resolve() != path.resolve():
        raise ConfigError(f"{path} has the name of another module, {module.__file__}; give it a name of its own")
    return module


def _look_in(folder: Path, *, first: bool = True) -> None:
    """Put a folder on the Python path, which worker processes inherit."""
    if str(folder) not in sys.path:
        sys.path.insert(0 if first else len(sys.path), str(folder))
