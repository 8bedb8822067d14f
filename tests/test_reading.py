import gzip
import hashlib
import os
import random
import threading
import tracemalloc
import zipfile
from functools import partial
from pathlib import Path

import pytest

from structpred import reading
from structpred.errors import DataError
from structpred.reading import each_line, noting_files, read_lines, read_member
from structpred.task import loaded
from structpred.tasks import Tsv

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


def test_other_encodings_are_read_when_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("é\n€\n".encode("cp1252"))
    assert [line for line, _ in read_lines(tmp_path / "a.txt", "cp1252")] == ["é", "€"]
    assert [line for line, _ in read_lines(tmp_path / "a.txt", "latin-1")] == ["é", "\x80"]
    (tmp_path / "a.txt").write_bytes(b"a\nb\x81\n")
    with pytest.raises(DataError, match=r"a\.txt line 2 must be CP1252, but byte 2 of the line is 0x81"):
        read_lines(tmp_path / "a.txt", "cp1252")


def archive(path: Path, members: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_a_member_of_an_archive_is_read_and_nothing_written(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"../b.txt": "x\ny\n", "c/d.txt": "z"})
    assert read_member(path, "../b.txt") == [("x", "a.zip/../b.txt line 1"), ("y", "a.zip/../b.txt line 2")]
    assert read_member(path, "c/d.txt") == [("z", "a.zip/c/d.txt line 1")]
    assert [each.name for each in tmp_path.iterdir()] == ["a.zip"]
    assert not (tmp_path.parent / "b.txt").exists()
    with pytest.raises(DataError, match=r"a\.zip must hold the file b\.txt, but it does not; fetch it again"):
        read_member(path, "b.txt")
    with pytest.raises(DataError, match=r"none\.zip must be a zip archive, but it cannot be read \(.*No such file"):
        read_member(tmp_path / "none.zip", "b.txt")


def test_a_member_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LARGEST", 1000)
    path = archive(tmp_path / "a.zip", {"a.txt": "a\n" * 10**6})
    with pytest.raises(DataError, match=r"^a\.zip/a\.txt must have at most 1,000 bytes"):
        read_member(path, "a.txt")


@pytest.mark.parametrize("kind", ["zip", "gz"])
def test_two_thousand_damaged_archives_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    generator = random.Random(11)
    text = "".join(f"{i} {generator.random()}\n" for i in range(20))
    path = tmp_path / f"a.{kind}"
    whole = archive(path, {"a.txt": text}).read_bytes() if kind == "zip" else gzip.compress(text.encode(), mtime=0)
    read = partial(read_member, path, "a.txt") if kind == "zip" else partial(read_lines, path)
    refusals = []
    for _ in range(2000):
        content = bytearray(whole[: generator.choice([len(whole), generator.randrange(1, len(whole))])])
        for _ in range(generator.randint(0, 3)):
            content[generator.randrange(len(content))] = generator.randrange(256)
        path.write_bytes(content)
        try:
            lines = read()
        except DataError as error:
            refusals.append(str(error))
            continue
        assert [line for line, _ in lines] == text.splitlines()
    assert [each for each in refusals if path.name not in each] == []
    assert 200 < len(refusals) < 2000, "both outcomes are tried"


@pytest.mark.parametrize("kind", ["gz", "deflated", "bzip2", "lzma"])
def test_a_small_file_never_unpacks_to_a_thousand_times_its_size(tmp_path: Path, kind: str) -> None:
    text = b"a\n" * 4_000_000
    path = tmp_path / f"a.{'gz' if kind == 'gz' else 'zip'}"
    if kind == "gz":
        path.write_bytes(gzip.compress(text))
    else:
        method = {"deflated": zipfile.ZIP_DEFLATED, "bzip2": zipfile.ZIP_BZIP2, "lzma": zipfile.ZIP_LZMA}[kind]
        with zipfile.ZipFile(path, "w", method) as file:
            file.writestr("a.txt", text)
    del text
    assert path.stat().st_size < 20_000
    tracemalloc.start()
    with pytest.raises(DataError, match=r"must unpack to at most 1,[0-9]{3},[0-9]{3} bytes, .* but it is larger"):
        read_lines(path) if kind == "gz" else read_member(path, "a.txt")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**27, "with the lines of all of it, it took a gigabyte"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"])
def test_any_damage_to_other_packings_is_one_sentence(tmp_path: Path, method: int) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("a.txt", "".join(f"{i} {i * i}\n" for i in range(200)))
    whole = path.read_bytes()
    refusals = []
    for position in range(30, len(whole), 3):
        for value in (0x00, 0xFF):
            content = bytearray(whole)
            content[position] = value
            path.write_bytes(content)
            try:
                read_member(path, "a.txt")
            except DataError as error:
                refusals.append(str(error))
    assert len(refusals) > 50
    assert all("a.zip" in each for each in refusals)
    assert not any("()" in each for each in refusals), "an error without words is named by its kind"


@pytest.mark.parametrize(("content", "line"), [(b"a\n\xef\xbb\xbfb\n", 2), (b"\xef\xbb\xbf\xef\xbb\xbfa\n", 1)])
def test_a_mark_of_joined_files_is_refused(tmp_path: Path, content: bytes, line: int) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(DataError, match=rf"^a\.txt line {line} must be plain text, but it holds a byte-order mark"):
        read_lines(tmp_path / "a.txt")


def test_inputs_are_read_line_by_line_and_a_bad_one_alone_is_bad() -> None:
    lines = list(each_line(b"\xef\xbb\xbfab\r\n\xff\n\na\0\nc\rd\ne\n\n\n", "in"))
    assert [place for _, place in lines] == [f"in line {number}" for number in range(1, 9)]
    assert [line if isinstance(line, str) else str(line).partition(",")[0] for line, _ in lines] == [
        "ab", "in line 2 must be UTF-8", "", "in line 4 must be plain text", "in line 5 must be plain text", "e",
        "", "",
    ]  # fmt: skip
    assert list(each_line(b"a", "in")) == list(each_line(b"a\n", "in")) == [("a", "in line 1")]
    with pytest.raises(DataError, match=r"^in must hold at least one line, but it is empty"):
        list(each_line(b"", "in"))


def test_a_task_says_which_files_it_was_read_from(tmp_path: Path) -> None:
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.tsv").write_text(f"a{name}\tb\nc{name}\td\n", encoding="utf-8")
    places = {name: str(tmp_path / f"{name}.tsv") for name in ("train", "dev", "test")}
    found = loaded(Tsv(**places)).files  # type: ignore[arg-type]  # its fields
    assert found == {place: hashlib.sha256(Path(place).read_bytes()).hexdigest() for place in places.values()}
    with noting_files() as outside:
        loaded(Tsv(**places))  # type: ignore[arg-type]  # likewise
    assert outside == {}


def test_packed_files_are_noted_as_they_lie_there_and_pipes_are_not(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(WHOLE)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("inner.txt", TEXT)
    os.mkfifo(tmp_path / "pipe")
    writing = threading.Thread(target=(tmp_path / "pipe").write_text, args=(TEXT,))
    writing.start()
    with noting_files() as found:
        read_lines(tmp_path / "a.txt.gz")
        read_member(tmp_path / "a.zip", "inner.txt")
        assert len(read_lines(tmp_path / "pipe")) == 4
    writing.join()
    names = ("a.txt.gz", "a.zip")
    assert found == {tmp_path / name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in names}
