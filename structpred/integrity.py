"""Checksums of a finished run's files, and one sentence for whatever is the matter with one of them."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from structpred.errors import RunError

CHECKSUMS = "SHA256SUMS"
"""The file of checksums, in the form that ``sha256sum --check`` reads."""

LAST = "result.json"
"""The file that is written after all others."""

_LINE = re.compile(r"([0-9a-f]{64})  ([^/\0\n]+)\n")


def sha256(content: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def written(sums: Mapping[str, str]) -> str:
    """The text of `CHECKSUMS`, for digests by file name."""
    return "".join(f"{digest}  {name}\n" for name, digest in sums.items())


def damaged(path: Path, why: str) -> RunError:
    """The error for a file of a finished run that cannot be used, with a way out that works."""
    return RunError(
        f"{path} {why}; the run cannot be used as it is: move the folder {path.parent} away or delete it, and the "
        "command that began the run trains it again"
    )


@dataclass(frozen=True)
class Files:
    """The files of a finished run, each of them compared with its checksum as it is read.

    Attributes:
        folder: the run's.
    """

    folder: Path

    @cached_property
    def checksums(self) -> dict[str, str]:
        """Digests by file name; empty for a run from before they were written.

        Raises:
            RunError: the file that holds them is damaged.
        """
        path = self.folder / CHECKSUMS
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise damaged(path, f"cannot be read ({_short(error)})") from None
        found = [_LINE.fullmatch(line) for line in text.splitlines(keepends=True)]
        sums = {match[2]: match[1] for match in found if match}
        if not all(found) or LAST not in sums:
            raise damaged(path, f"is damaged: expected checksums and file names, a line each, that of {LAST} last")
        return sums

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            RunError: it is missing, cannot be read, is empty, or is not what was written when the run ended.
        """
        path = self.folder / name
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise damaged(path, "is missing") from None
        except OSError as error:
            raise damaged(path, f"cannot be read ({_short(error)})") from None
        expected = self.checksums.get(name)
        if not content:
            raise damaged(path, "is empty")
        if expected is not None and sha256(content) != expected:
            raise damaged(path, f"is not what was written when the run ended (see {CHECKSUMS})")
        return content

    def json(self, name: str) -> dict[str, Any]:
        """The JSON object in a file.

        Raises:
            RunError: as `read`, and where it is no JSON object.
        """
        try:
            node = json.loads(self.read(name).decode())
        except (ValueError, RecursionError) as error:
            raise damaged(self.folder / name, f"cannot be read as JSON ({_short(error)})") from None
        if not isinstance(node, dict):
            raise damaged(self.folder / name, f"must hold a JSON object, but holds {node!r:.40}")
        return node

    def verify(self) -> None:
        """Compare every file that has a checksum.

        Raises:
            RunError: one is not what was written.
        """
        for name in self.checksums:
            self.read(name)


def _short(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())
