import gzip
import hashlib
import threading
import warnings
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from structpred.downloads import DataSet, Published, RestrictedDataWarning
from structpred.errors import DataError

CONTENT = b"a\tb\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:  # its own names differ between versions of Python
        del args


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An address, and the folder it serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}", folder
        http.shutdown()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no folder of data."""
    monkeypatch.delenv("STRUCTPRED_DATA", raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache" / name)
    return tmp_path / "cache" / "structpred"


def data_set(url: str, sha256: str | None = SHA256, *, restricted: bool = False) -> DataSet:
    files = {"part/a.tsv": Published(url, sha256)}
    return DataSet(
        title="Letters", folder="letters", licence="CC0", citation="Us 2020", restricted=restricted, files=files
    )


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_file_is_downloaded_once_and_checked_unpacked(server: tuple[str, Path], cache: Path, ending: str) -> None:
    url, folder = server
    (folder / f"a.tsv{ending}").write_bytes(gzip.compress(CONTENT) if ending else CONTENT)
    data = data_set(f"{url}/a.tsv{ending}")
    place = data.path("part/a.tsv")
    assert place == cache / "letters" / "part" / "a.tsv"
    assert place.read_bytes() == CONTENT
    (folder / f"a.tsv{ending}").unlink()
    assert data.path("part/a.tsv") == place, "from the cache"
    assert [path.name for path in place.parent.iterdir()] == ["a.tsv"]


def test_a_member_of_an_archive_is_downloaded_and_checked(server: tuple[str, Path], cache: Path) -> None:
    url, folder = server
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        archive.writestr("../../outside.tsv", CONTENT)
        archive.writestr("data/a.tsv", CONTENT)
    files = {
        name: Published(f"{url}/all.zip", SHA256, member=member)
        for name, member in {"a.tsv": "data/a.tsv", "b.tsv": "../../outside.tsv", "c.tsv": "data/c.tsv"}.items()
    }
    data = DataSet(title="Letters", folder="letters", licence="CC0", citation="Us 2020", files=files)
    assert data.path("a.tsv").read_bytes() == CONTENT
    assert data.path("b.tsv") == cache / "letters" / "b.tsv", "where a member would go decides nothing"
    assert sorted(path.name for path in cache.rglob("*") if path.is_file()) == ["a.tsv", "b.tsv"]
    with pytest.raises(DataError, match=r"all\.zip must hold the file data/c\.tsv, but it does not"):
        data.path("c.tsv")


def test_a_damaged_cache_is_replaced(server: tuple[str, Path], cache: Path) -> None:
    url, folder = server
    (folder / "a.tsv").write_bytes(CONTENT)
    place = cache / "letters" / "part" / "a.tsv"
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT[:-1])
    assert data_set(f"{url}/a.tsv").path("part/a.tsv").read_bytes() == CONTENT


def test_other_content_is_refused_and_not_kept(server: tuple[str, Path], cache: Path) -> None:
    url, folder = server
    (folder / "a.tsv").write_bytes(b"something else")
    with pytest.raises(DataError, match=rf"^part/a\.tsv of Letters must have the SHA-256 {SHA256}, but what came from"):
        data_set(f"{url}/a.tsv").path("part/a.tsv")
    assert not (cache / "letters").exists()


@pytest.mark.parametrize("address", ["/none.tsv", ""], ids=["no such file", "no such server"])
def test_a_download_that_fails_says_what_to_do(server: tuple[str, Path], address: str) -> None:
    url = f"{server[0]}{address}" if address else "http://127.0.0.1:1/a.tsv"
    with pytest.raises(DataError, match=r"must be downloaded, but .* gave \w+; get it yourself and put it at \$STRUCT"):
        data_set(url).path("part/a.tsv")


def test_what_cannot_be_checked_is_not_downloaded() -> None:
    with pytest.raises(DataError, match=r"its SHA-256 is not known .* get it from http://x/a yourself and put it at"):
        data_set("http://x/a", None).path("part/a.tsv")
    with pytest.raises(DataError, match=r"^b of Letters must be at hand, for it has no address .*/letters/b$"):
        data_set("http://x/a").path("b")


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_the_folder_of_data_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    place = tmp_path / "letters" / "part" / f"a.tsv{ending}"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"whatever")
    monkeypatch.setenv("STRUCTPRED_DATA", str(tmp_path))
    assert data_set("http://x/a").path("part/a.tsv") == place


def test_restricted_data_warn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "b").write_bytes(b"b")
    monkeypatch.setenv("STRUCTPRED_DATA", str(tmp_path))
    data = data_set("http://x/a", restricted=True)
    with pytest.warns(RestrictedDataWarning, match="^Letters is for some uses only: CC0$") as seen:
        assert data.path("b") == data.path("b")
    assert len(seen) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data_set("http://x/a").path("b")
