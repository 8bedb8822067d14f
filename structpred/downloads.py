"""Published data sets: from ``$STRUCTPRED_DATA``, else from the cache, else downloaded and verified."""

import hashlib
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pooch

from structpred.errors import AbsentError, DataError
from structpred.files import write_atomically
from structpred.reading import place_of, read_bytes, unzipped

VARIABLE = "STRUCTPRED_DATA"
"""Environment variable with the folder of data sets, each in a subfolder."""

SECONDS = 60
"""Timeout for a silent server."""


class RestrictedDataWarning(UserWarning):
    """The licence restricts the use of the data."""


@dataclass(frozen=True)
class Published:
    """One published file.

    Attributes:
        url: the address of a fixed version.
        sha256: of its content (unpacked, where the address ends in ``.gz``), in hexadecimal. None where nobody who
            wrote this had the file: then it is not downloaded, because what came could not be checked.
        member: where it is in the zip archive that the address gives; None where the address gives the file itself.
    """

    url: str
    sha256: str | None = None
    member: str | None = None


@dataclass(frozen=True)
class DataSet:
    """A published data set and its terms.

    Attributes:
        title: its usual name.
        folder: its folder below ``$STRUCTPRED_DATA`` and below the cache.
        licence: the terms of use, in a sentence.
        citation: what to cite.
        restricted: True where the terms rule some uses out; loading then warns once.
        files: where to download each file, by its path below the folder.
        splits: the files of train, dev and test, or of train and test; in braces stand fields of the task.
    """

    title: str
    folder: str
    licence: str
    citation: str
    restricted: bool = False
    files: Mapping[str, Published] | None = None
    splits: tuple[str, ...] = ()

    @property
    def terms(self) -> str:
        """Whose the data are and under which licence they may be given away; empty where some uses are ruled out."""
        return "" if self.restricted else f"{self.title}, {self.licence}; {self.citation}"

    def path(self, name: str) -> Path:
        """The file of that name, from ``$STRUCTPRED_DATA`` (there it may end in ``.gz`` too), the cache or the web.

        Files below ``$STRUCTPRED_DATA`` are used unverified: the digest of the data is part of every run's identity.
        All other files must have the published SHA-256.

        Raises:
            AbsentError: the file is nowhere and cannot be downloaded.
            DataError: what came has another SHA-256.
        """
        self.warn()
        return self.found(name) or self._downloaded(name)

    def warn(self) -> None:
        """Warn once per process if the terms restrict the use."""
        if self.restricted:
            _warn(f"{self.title} is for some uses only: {self.licence}")

    def found(self, name: str) -> Path | None:
        """The file of that name below ``$STRUCTPRED_DATA``; None if there is none."""
        root = os.environ.get(VARIABLE)
        place = place_of(root) / self.folder if root else None
        places = [place / f"{name}{ending}" for ending in ("", ".gz")] if place else []
        return next((place for place in places if place.is_file()), None)

    def _downloaded(self, name: str) -> Path:
        remedy = f"put it at ${VARIABLE}/{self.folder}/{name}"
        published = (self.files or {}).get(name)
        if published is None:
            raise AbsentError(
                f"{name} of {self.title} must be at hand, for it has no address to download from; {remedy}"
            )
        if published.sha256 is None:
            raise AbsentError(
                f"{name} of {self.title} must be at hand, for its SHA-256 is not known and a download could not be "
                f"checked; get it from {published.url} yourself and {remedy}"
            )
        place = Path(pooch.os_cache("structpred"), self.folder, name)
        if not (place.is_file() and _sha256(place.read_bytes()) == published.sha256):
            content = _download(published, f"{name} of {self.title}", remedy)
            if _sha256(content) != published.sha256:
                raise DataError(
                    f"{name} of {self.title} must have the SHA-256 {published.sha256}, but what came from "
                    f"{published.url} has {_sha256(content)}; try again, or get it elsewhere and {remedy}"
                )
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(place, content)
        return place


def _download(published: Published, what: str, remedy: str) -> bytes:
    """The content of a published file, unpacked."""
    url = published.url
    with TemporaryDirectory() as folder:
        place = Path(folder, url.rpartition("/")[2])
        try:
            pooch.HTTPDownloader(timeout=SECONDS)(url, str(place), None)
        except OSError as error:  # those of requests are among them
            raise AbsentError(
                f"{what} must be downloaded, but {url} gave {type(error).__name__}; get it yourself and {remedy}"
            ) from None
        return read_bytes(place) if published.member is None else unzipped(place, published.member)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@cache
def _warn(message: str) -> None:
    warnings.warn(message, RestrictedDataWarning, stacklevel=4)
