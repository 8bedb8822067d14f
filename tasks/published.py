"""Tasks on data that somebody published: where the files are, and which reader reads them."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from structpred.downloads import DataSet, Published
from structpred.task import Splits, Task
from structpred.tasks.checksums import SHA256
from structpred.vocabulary import Symbols

Place = Callable[[str], str]
"""From the name of a file to its path."""


@dataclass(frozen=True, kw_only=True)
class PublishedTask(Task):
    """A task whose files are found below ``$STRUCTPRED_DATA``, in the cache, or downloaded; see `DataSet`.

    Attributes:
        origin: the data set, its licence and what to cite.
    """

    origin: ClassVar[DataSet]

    @abstractmethod
    def reader(self, place: Place) -> Task:
        """The task that reads the files once it is told where they are."""

    def load(self) -> Splits:
        """Find the files and read them.

        Raises:
            DataError: a file cannot be found, downloaded or read.
        """
        return self.reader(self.place).load()

    def place(self, name: str) -> str:
        """The path of one of the files, which is downloaded if need be.

        Raises:
            DataError: it cannot be found or downloaded.
        """
        return str(self.origin.path(name))

    def parse(self, text: str) -> Symbols:
        """The input symbols of one line of text.

        Raises:
            DataError: it is not what an input must be.
        """
        return self.reader(str).parse(text)

    def render(self, output: Symbols) -> str:
        """Output symbols as the files write them."""
        return self.reader(str).render(output)


def github(repository: str, commit: str, path: str) -> str:
    """The address of a file at one commit."""
    return f"https://raw.githubusercontent.com/{repository}/{commit}/{path}"


def files(folder: str, addresses: Mapping[str, str]) -> dict[str, Published]:
    """Files by name, with the SHA-256 that is known of them."""
    return {name: Published(url, SHA256.get(f"{folder}/{name}")) for name, url in addresses.items()}
