"""A study has one driver at a time, whatever it is kept in."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage

from structpred.errors import Interrupted
from structpred.tuning import trials
from structpred.tuning.storage import opened
from structpred.tuning.trials import CLAIM, Claim, claimed

SILENCE = 1.2
DATABASE = "postgresql://host/studies"
"""A place that is no file; the storage itself is in memory."""


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "POLL", 0.02)
    monkeypatch.setattr(trials, "SETTLE", 0.1)


@contextmanager
def place_and_storage(kind: str, folder: Path) -> Iterator[tuple[str, BaseStorage]]:
    if kind == "database":
        yield DATABASE, InMemoryStorage()
        return
    place = str(folder / "journal") if kind == "journal" else f"sqlite:///{folder}/s.db"
    with opened(place) as storage:
        yield place, storage


def study_of(storage: BaseStorage, name: str = "tuning") -> optuna.Study:
    return optuna.create_study(storage=storage, study_name=name, load_if_exists=True)


def never() -> bool:
    return False


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["journal", "sqlite", "database"])
def test_a_second_driver_waits_says_so_once_and_has_its_turn(kind: str, tmp_path: Path) -> None:
    said, order = list[str](), list[str]()
    holding, waiting = threading.Event(), threading.Event()

    def say(sentence: str) -> None:
        said.append(sentence)
        waiting.set()

    def first() -> None:
        with claimed(place, storage, [study], SILENCE, waiting=said.append, stopping=never):
            holding.set()
            assert waiting.wait(30)
            time.sleep(2 * SILENCE)  # it is alive, and renews its claim
            order.append("first")

    with place_and_storage(kind, tmp_path) as (place, storage):
        study = study_of(storage)
        thread = threading.Thread(target=first)
        thread.start()
        assert holding.wait(30)
        with claimed(place, storage, [study_of(storage)], SILENCE, waiting=say, stopping=never) as lost:
            order.append("second")
            assert not lost()
        thread.join()
    assert order == ["first", "second"]
    (sentence,) = said
    assert sentence.startswith("another command drives the study 'tuning' in ")
    assert "a study has one driver at a time" in sentence
    assert sorted(path.name for path in tmp_path.glob("*") if path.suffix == ".lock") == []


@pytest.mark.parametrize("kind", ["journal", "database"])
def test_studies_of_different_names_do_not_wait_for_each_other(kind: str, tmp_path: Path) -> None:
    options = {"waiting": pytest.fail, "stopping": never}
    with (
        place_and_storage(kind, tmp_path) as (place, storage),
        claimed(place, storage, [study_of(storage, "one")], SILENCE, **options),  # type: ignore[arg-type]
        claimed(place, storage, [study_of(storage, "two")], SILENCE, **options),  # type: ignore[arg-type]
    ):
        pass


@pytest.mark.parametrize("kind", ["journal", "database"])
def test_waiting_ends_when_it_is_told_to(kind: str, tmp_path: Path) -> None:
    with (
        place_and_storage(kind, tmp_path) as (place, storage),
        claimed(place, storage, [study_of(storage)], 60.0, waiting=pytest.fail, stopping=never),
    ):
        begun = threading.Event()
        with (
            pytest.raises(Interrupted),
            claimed(place, storage, [study_of(storage)], 60.0, waiting=lambda _: begun.set(), stopping=begun.is_set),
        ):
            pytest.fail("two drivers at once")


def test_the_claim_of_a_silent_driver_is_taken_over_and_it_learns_of_it() -> None:
    storage = InMemoryStorage()
    study = study_of(storage)
    dead = Claim(study, SILENCE)
    dead.acquire(pytest.fail)
    began = time.monotonic()
    with claimed(DATABASE, storage, [study], SILENCE, waiting=lambda _: None, stopping=never):
        assert time.monotonic() - began >= SILENCE
        assert study.user_attrs[CLAIM]["id"] != dead._id
        dead.renew()
        assert dead.lost
        dead.release()
        assert study.user_attrs[CLAIM] is not None, "it is no longer the dead one's to release"
    assert study.user_attrs[CLAIM] is None


def test_of_two_who_claim_at_once_one_waits() -> None:
    """Each looks before the other has written."""
    storage, together, at_once = InMemoryStorage(), threading.Barrier(2), list[int]()
    inside = threading.Lock()

    class AtOnce(Claim):
        def _write(self) -> None:
            if self._beat == 0:
                together.wait(10)
            super()._write()

    def drive() -> None:
        claim = AtOnce(study_of(storage), 60.0)
        claim.acquire(lambda _: time.sleep(trials.POLL))
        assert inside.acquire(blocking=False), "two drivers at once"
        at_once.append(1)
        time.sleep(0.3)
        inside.release()
        claim.release()

    threads = [threading.Thread(target=drive) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(at_once) == 2


def test_a_storage_that_fails_for_a_while_loses_no_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_of(InMemoryStorage())
    claim = Claim(study, 60.0)
    claim.acquire(pytest.fail)
    before = study.user_attrs[CLAIM]["beat"]

    def fail(*arguments: object) -> None:
        raise StorageInternalError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(study, "set_user_attr", fail)
        claim.renew()
    claim.renew()
    assert not claim.lost
    assert study.user_attrs[CLAIM]["beat"] > before
