"""Files as they come damaged: cut short, of other encodings, with columns, line ends or bytes that do not belong."""

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from structpred.errors import DataError

PIECES = (b"\t", b"\n", b"\n\n", b"\r\n", b"\r", b"\0", b" ", b"\xff", b"\xe9", b"\xc3\xa9", b"\xe2\x80\xa8", b"#",
          b"_", b"\xef\xbb\xbf", b"\xc2\xa0", b"O", b"B-", b"1", b"-", b'"', b"{", b"x" * 5000, b"")  # fmt: skip

Read = TypeVar("Read")


def damaged(content: bytes, generator: random.Random) -> bytes:
    """The content with one to four changes, or empty, or with a byte-order mark, or cut short."""
    kind = generator.random()
    if kind < 0.02:
        return b""
    if kind < 0.05:
        return b"\xef\xbb\xbf" + content
    if kind < 0.15:
        return content[: generator.randrange(len(content))]
    for _ in range(generator.randint(1, 4)):
        at = generator.randrange(len(content) + 1)
        content = content[:at] + generator.choice(PIECES) + content[at + generator.choice([0, 0, 1, 2, 9]) :]
    return content


def outcomes(path: Path, good: bytes, load: Callable[[], Read], *, times: int = 2000) -> Iterator[tuple[bytes, Read]]:
    """Write a damaged file and load it, many times; what could be read comes back with the content.

    Asserts that everything else is a `DataError` of one line that begins with the file and a line number, or with the
    file alone where the mistake is nowhere in particular, and that both outcomes occur.
    """
    generator, refusals, read = random.Random(7), [], 0
    for _ in range(times):
        content = damaged(good, generator)
        path.write_bytes(content)
        try:
            found = load()
        except DataError as error:
            refusals.append(str(error))
            continue
        read += 1
        yield content, found
    strange = [each for each in refusals if "\n" in each or not re.search(rf"{re.escape(path.name)}\b", each)]
    assert strange == []
    somewhere = [each for each in refusals if re.search(rf"\b{re.escape(path.name)} line \d+\b", each)]
    assert len(somewhere) > 0.2 * len(refusals), "many mistakes have a line"
    assert 0.01 * times < read < 0.95 * times, "both outcomes are tried"
