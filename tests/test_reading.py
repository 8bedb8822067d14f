import gzip
from pathlib import Path

import pytest

from structpred import reading
from structpred.errors import DataError
from structpred.reading import read_lines

TEXT = "één\ntwee\r\n\ndrie\n"
WHOLE = gzip.compress(TEXT.encode(), mtime=0)


def test_a_gzip_file_reads_as_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(WHOLE)
    assert read_lines(tmp_path / "a.txt.gz") == [
        ("één", "a.txt.gz line 1"),
        ("twee", "a.txt.gz line 2"),
        ("", "a.txt.gz line 3"),
        ("drie", "a.txt.gz line 4"),
    ]


@pytest.mark.parametrize(
    "content",
    [TEXT.encode(), WHOLE[:-9], WHOLE[:5], WHOLE + b"garbage", WHOLE[:12] + b"\xff" * 9 + WHOLE[21:]],
    ids=["plain text", "cut short", "half a header", "garbage behind", "damaged"],
)
def test_a_broken_gzip_file_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.gz must be a gzip file, but it cannot be unpacked \(.+\); fetch it again"):
        read_lines(tmp_path / "a.gz")


def test_what_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LARGEST", 1000)
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"a\n" * 10**6))
    with pytest.raises(DataError, match=r"a\.gz must have at most 1,000 bytes, but it is larger; take a part of it"):
        read_lines(tmp_path / "a.gz")


def test_an_empty_gzip_file_has_no_line(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(DataError, match=r"a\.gz must hold at least one line"):
        read_lines(tmp_path / "a.gz")
