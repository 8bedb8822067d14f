"""The files ``best_NAME.py`` and ``best_NAME.json`` of a report, and which of a folder's a report certainly wrote."""

import hashlib
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from structpred.errors import ConfigError
from structpred.files import write_atomically
from structpred.plain import file_stems

_WRITTEN = "Written by ``structpred tune``."
_SEAL = re.compile(rb"# SHA-256 of the lines above: ([0-9a-f]{64}); of the JSON beside: ([0-9a-f]{64})\n\Z")


def stems(names: Iterable[str]) -> list[str]:
    """The names of the files, without the suffix, of studies by their names."""
    return [f"best_{stem}" for stem in file_stems(list(names)).values()]


def write(folder: Path, stem: str, *, module: str, config: str) -> tuple[Path, Path]:
    """Write both files; the module's last line tells whether they have been changed since.

    Args:
        folder: where.
        stem: their name without the suffix.
        module: text of the Python module.
        config: text of the JSON file.

    Returns:
        The paths of the JSON file and of the module.
    """
    path = folder / f"{stem}.json"
    path.unlink(missing_ok=True)  # whoever is killed in between leaves none, and not one that belongs to another module
    seal = f"# SHA-256 of the lines above: {_digest(module.encode())}; of the JSON beside: {_digest(config.encode())}\n"
    written = write_atomically(folder / f"{stem}.py", f"{module}{seal}")
    return write_atomically(path, config), written


def refuse_others(folder: Path, stems: Sequence[str]) -> None:
    """Refuse to write over a file that no report wrote, or that was changed since.

    Raises:
        ConfigError: there is one.
    """
    for stem in stems:
        module, config = folder / f"{stem}.py", folder / f"{stem}.json"
        digest = _digest_of_config(module)
        strange = [module] if module.exists() and digest is None else []
        strange += [config] if config.exists() and _digest(config.read_bytes()) != digest else []
        if strange:
            raise ConfigError(
                f"{strange[0]} was not written by structpred tune, or was changed since; move it away, or name another "
                "folder for the report"
            )


def remove_others(folder: Path, stems: Sequence[str]) -> None:
    """Remove the best experiments of earlier reports, but no file that was changed since."""
    for module in sorted(folder.glob("best_*.py")):
        if module.stem in stems:
            continue
        digest, config = _digest_of_config(module), module.with_suffix(".json")
        if digest is not None:
            if config.exists() and _digest(config.read_bytes()) == digest:
                config.unlink()
            module.unlink()
        elif _WRITTEN.encode() in module.read_bytes():
            warnings.warn(f"{module} is of an earlier report and was changed since, so it stays", stacklevel=3)


def _digest_of_config(module: Path) -> str | None:
    """The digest of the JSON beside a module, by its last line; None where the module is not as it was written."""
    content = module.read_bytes() if module.is_file() else b""
    seal = _SEAL.search(content)
    if seal is None or _digest(content[: seal.start()]).encode() != seal[1]:
        return None
    return seal[2].decode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
