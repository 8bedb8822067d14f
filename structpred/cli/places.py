"""Checks of paths before any work is done."""

from pathlib import Path

from structpred.errors import ConfigError


def folder_to_write(path: Path) -> None:
    """Refuse a path that cannot become a folder, so that nobody finds out after hours of training.

    Raises:
        ConfigError: it, or what should be a folder above it, is a file.
    """
    above = next((each for each in (path, *path.parents) if each.exists()), None)
    if above is not None and not above.is_dir():
        raise ConfigError(f"{path} must be a folder, but {above} is a file; name another place")


def file_to_write(path: Path) -> None:
    """Refuse a path that cannot become a file.

    Raises:
        ConfigError: it is a folder, or stands in none.
    """
    if path.is_dir():
        raise ConfigError(f"{path} must be a file, but it is a folder; name a file in it")
    if not path.parent.is_dir():
        raise ConfigError(f"{path} must stand in a folder, but there is no {path.parent}; make it first")
