"""How the benchmark `mutated_files` damages a file: its text, its bytes where it is packed, or the whole of it."""

import gzip
import io
import random
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

PIECES = [
    *("\t", "\n", "\n\n", "\r\n", "\r", "\0", " ", "  ", "#", "# a b"),
    *("\\", "|", '"', "{", "[", "]", "}", "-", "_", ";"),
    *("\u00a0", "\u200b", "\u200d", "\u2028", "\x85", "\x1b[31m", "\ufeff", "\u202e", "é", "𝔸", "e\u0301", "\uffff"),
    *("O", "B-", "I-X", "1", "-1", "4-5", "8.1", "9" * 5000, "1e999", "NaN", "null", "\\ud800", "-DOCSTART- O", "true"),
]  # fmt: skip
ENCODINGS = ("utf-8-sig", "utf-16", "utf-32", "latin-1", "cp1252", "utf-7", "cp037")


def damaged_text(text: bytes, chance: random.Random) -> bytes:
    """A text with some damage, at any byte."""
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        text = chance.choice(_DAMAGES)(text, chance)
    return text


def _at(text: bytes, chance: random.Random) -> int:
    return chance.randrange(len(text) + 1)


def _cut(text: bytes, chance: random.Random) -> bytes:
    at = _at(text, chance)
    return text[:at] if chance.random() < 0.7 else text[at:]


def _insert(text: bytes, chance: random.Random) -> bytes:
    at, piece = _at(text, chance), chance.choice(PIECES).encode("utf-8", "surrogatepass")
    return text[:at] + piece + text[at + chance.choice([0, 0, 1, 2, 9]) :]


def _bits(text: bytes, chance: random.Random) -> bytes:
    changed = bytearray(text or b"a")
    for _ in range(chance.choice([1, 1, 3, 20])):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _any_bytes(text: bytes, chance: random.Random) -> bytes:
    at = _at(text, chance)
    return text[:at] + chance.randbytes(chance.choice([1, 4, 50])) + text[at + chance.choice([0, 1, 50]) :]


def _lines(text: bytes, chance: random.Random) -> bytes:
    lines = text.split(b"\n")
    first, second = chance.randrange(len(lines)), chance.randrange(len(lines))
    what = chance.randrange(4)
    if what == 0:
        lines[first], lines[second] = lines[second], lines[first]
    elif what == 1:
        lines.insert(second, lines[first])
    elif what == 2:
        del lines[first]
    else:
        lines[first:first] = lines * chance.choice([1, 30])
    return b"\n".join(lines)


def _columns(text: bytes, chance: random.Random) -> bytes:
    old, new = chance.choice(
        [(b"\t", b" "), (b" ", b"\t"), (b"\t", b"\t\t"), (b"\n", b"\r"), (b"\n", b"\r\n"), (b" ", b"")]
    )
    return text.replace(old, new, chance.choice([1, -1]))


def _huge(text: bytes, chance: random.Random) -> bytes:
    if chance.random() < 0.9:  # each takes a moment
        return _insert(text, chance)
    at, piece = _at(text, chance), chance.choice(["x", "é", "x ", "[", "\t", "\n", "B-X ", "9", '{"a":'])
    return text[:at] + piece.encode() * chance.choice([10**4, 10**5, 10**5, 10**6]) + text[at:]


def _encoded(text: bytes, chance: random.Random) -> bytes:
    return text.decode("utf-8", "replace").encode(chance.choice(ENCODINGS), "replace")


_DAMAGES = (_cut, _insert, _insert, _insert, _bits, _any_bytes, _lines, _columns, _huge, _encoded)


def unpacked(content: bytes) -> tuple[bytes, Callable[[bytes], bytes]]:
    """The content of a packed file, and how to pack something else; any other file as it is."""
    if content[:2] == b"\x1f\x8b":
        return gzip.decompress(content), lambda text: gzip.compress(text, mtime=0)
    if content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            (member,) = archive.infolist()
            return archive.read(member), lambda text: zipped({member.filename: text}, member.compress_type)
    return content, bytes


def zipped(members: Mapping[str, bytes], method: int) -> bytes:
    """An archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return stream.getvalue()


def damage(path: Path, content: bytes, chance: random.Random) -> None:
    """Damage a file, of which this is the content."""
    kind = chance.random()
    if kind < 0.01:
        path.unlink()
    elif kind < 0.02:
        path.unlink()
        path.mkdir()
    elif kind < 0.03:
        path.write_bytes(b"")
    else:
        inner, pack = unpacked(content)
        packed = inner is not content
        path.write_bytes(pack(damaged_text(inner, chance)) if packed and kind < 0.5 else damaged_text(content, chance))
