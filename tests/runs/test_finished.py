"""A finished run is believed only where its files are what was written and its identity is the one asked for."""

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from structpred.comparison.plan import Plan
from structpred.distributions.protocols import LogProb
from structpred.errors import ConfigError, RunError
from structpred.experiment import Experiment
from structpred.models import Seq2Seq
from structpred.objective import Losses, Objective, StepContext
from structpred.objectives import MaximumLikelihood
from structpred.registry import objectives
from structpred.runs import Folder, Run, train
from structpred.runs.folder import CHECKSUMS
from structpred.sequences import Sequences
from structpred.tasks import Tsv
from structpred.training import Trainer
from structpred.training.trainer import Training
from tests.support.commands import write_data
from tests.support.tiny import Copying

TINY = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=4, hidden=8, dropout=0.3),
    objective=MaximumLikelihood(),
    trainer=Trainer(epochs=1, batch_tokens=40),
)
FILES = (
    "experiment.json", "data.json", "record.json", "weights.pt", "counts.npz", "outputs.npz",
    "dev.predictions.tsv", "test.predictions.tsv", "result.json", CHECKSUMS,
)  # fmt: skip


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(TINY, root=tmp_path_factory.mktemp("original")).folder.path


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, to be damaged."""
    return Path(shutil.copytree(original, tmp_path / original.name))


def edit(path: Path, **changes: object) -> None:
    node = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(node | changes), encoding="utf-8")


def older(run: Path) -> Path:
    """As runs were before there were checksums."""
    (run / CHECKSUMS).unlink()
    record = json.loads((run / "record.json").read_text(encoding="utf-8"))
    (run / "record.json").write_text(json.dumps({k: v for k, v in record.items() if k != "checksums"}), "utf-8")
    return run


def test_a_finished_run_has_a_checksum_of_every_file_that_it_is_read_from(run: Path) -> None:
    lines = (run / CHECKSUMS).read_text(encoding="utf-8").splitlines()
    named = dict(line.split("  ")[::-1] for line in lines)
    assert named == {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in FILES if name != CHECKSUMS}
    assert sorted({path.name for path in run.iterdir()} - {*FILES}) == ["log.jsonl"], "and nothing is left behind"


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "null": lambda content: b"null",
    "a list": lambda content: b"[1, 2]",
    "not UTF-8": lambda content: b"\xff\xfe" + content,
    "a flipped bit": lambda content: content[:-40] + bytes([content[-40] ^ 1]) + content[-39:],
    "deep": lambda content: b"[" * 100_000,
    "longer": lambda content: content + b" ",
}


def use_everything(run: Path) -> None:
    """Read a run in every way there is."""
    loaded = Run.load(run)
    loaded.predict(["ab"])
    train(TINY, root=run.parent, stopping=lambda: pytest.fail("a step was taken"))


def said(run: Path) -> str:
    with pytest.raises(RunError) as caught:
        use_everything(run)
    message = str(caught.value)
    assert "\n" not in message
    assert "weights_only" not in message
    assert f"move the folder {run} away or delete it" in message, message
    return message


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_to_any_file_is_one_sentence_with_advice(kind: str, name: str, run: Path) -> None:
    path = run / name
    path.write_bytes(DAMAGE[kind](path.read_bytes()))
    assert name in said(run)


@pytest.mark.parametrize("name", [name for name in FILES if name != "result.json"])
def test_a_missing_file_is_one_sentence_with_advice(name: str, run: Path) -> None:
    (run / name).unlink()
    assert f"{run / name} is missing" in said(run)


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("result.json", ("signatures",), [1]),
        ("result.json", ("history", 0, "epoch"), {}),
        ("result.json", ("certainty", "entropy"), {"a": 1}),
        ("result.json", ("certainty", "estimated"), []),
        ("data.json", ("sizes", "inputs"), "x"),
        ("data.json", ("sizes", "labels"), {}),
        ("data.json", ("inputs",), [{}]),
    ],
)
def test_a_value_of_another_type_in_an_older_run_is_one_sentence(
    name: str, place: tuple[str | int, ...], value: object, run: Path
) -> None:
    path = older(run) / name
    tree = json.loads(path.read_text(encoding="utf-8"))
    node: Any = tree
    for step in place[:-1]:
        node = node[step]
    assert place[-1] in node
    node[place[-1]] = value
    path.write_text(json.dumps(tree), encoding="utf-8")
    assert name in said(run)


@pytest.mark.parametrize("name", ["experiment.json", "data.json", "weights.pt", "counts.npz", "result.json"])
@pytest.mark.parametrize("kind", ["empty", "cut", "null", "a list", "not UTF-8", "deep"])
def test_damage_to_an_older_run_is_one_sentence_too(kind: str, name: str, run: Path) -> None:
    path = older(run) / name
    path.write_bytes(DAMAGE[kind](path.read_bytes()))
    assert name in said(run)


def test_the_advice_works(run: Path) -> None:
    (run / "weights.pt").write_bytes(b"")
    said(run)
    shutil.rmtree(run)
    assert train(TINY, root=run.parent).folder.path == run


def test_weights_of_another_network_are_refused(run: Path) -> None:
    torch.save({"a": torch.ones(1)}, older(run) / "weights.pt")
    with pytest.raises(RunError, match=r"weights\.pt does not fit the Seq2Seq of its experiment; .*move the folder"):
        _ = Run.load(run).model


def test_weights_that_are_whole_are_not_blamed_where_the_network_is_another(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = Seq2Seq.build
    monkeypatch.setattr(Seq2Seq, "build", lambda model, sizes: build(replace(model, hidden=2 * model.hidden), sizes))
    with pytest.raises(RunError, match=r"weights\.pt does not fit the Seq2Seq that is built now.*put the earlier ones"):
        _ = Run.load(run).model


# ------------------------------------------------------------------------------------------------- identities


@pytest.mark.parametrize("old", [False, True])
def test_a_result_with_another_identity_is_refused(old: bool, run: Path) -> None:
    if old:
        older(run)
    scores = {"dev": {"PER": 99.99, "WER": 99.99}, "test": {"PER": 99.99, "WER": 99.99}}
    edit(run / "result.json", identity="0" * 64, scores=scores)
    assert "result.json is" in said(run)
    with pytest.raises(RunError, match=r"result\.json is"):
        Plan.of({"tiny": TINY}, (0,), None, run.parent)


def test_a_finished_run_of_another_identity_in_the_right_folder_is_refused(run: Path) -> None:
    other = replace(TINY, seed=1)
    place = run.rename(run.parent / other.identity(TINY.task.load().digest)[:16])
    Run.load(place)  # by its folder it may be used wherever it is
    for use in (lambda: train(other, root=place.parent), lambda: Plan.of({"tiny": TINY}, (1,), None, place.parent)):
        with pytest.raises(RunError, match=r"result\.json is of another run: expected the identity [0-9a-f]{64}; "):
            use()


@pytest.fixture
def built_in(tmp_path: Path) -> Experiment:
    """Nothing in it comes from outside the package, so that fields and versions decide its identity."""
    write_data(tmp_path)
    train_file, dev, test = (str(tmp_path / f"{split}.tsv") for split in ("train", "dev", "test"))
    return replace(TINY, task=Tsv(train=train_file, dev=dev, test=test))


def test_an_older_run_beside_the_experiment_of_another_seed_is_refused(built_in: Experiment, tmp_path: Path) -> None:
    run = older(train(built_in, root=tmp_path / "runs").folder.path)
    assert Run.load(run).experiment == built_in
    edit(run / "experiment.json", seed=7)
    with pytest.raises(RunError, match=r"experiment\.json is of another run than result\.json and its identity; "):
        Run.load(run)


def test_an_older_run_under_an_earlier_version_of_a_component_is_believed(
    built_in: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = older(train(built_in, root=tmp_path / "runs").folder.path)
    monkeypatch.setattr(MaximumLikelihood, "version", MaximumLikelihood.version + 2)
    assert Run.load(run).experiment == built_in
    assert built_in.identity(built_in.task.load().digest) != Run.load(run).result.identity


def test_the_scores_of_an_older_run_are_those_of_its_counts(run: Path) -> None:
    result = json.loads((older(run) / "result.json").read_text(encoding="utf-8"))
    result["scores"]["test"]["PER"] += 1.0
    edit(run / "result.json", scores=result["scores"])
    assert "says another PER on test than counts.npz" in said(run)


def test_counts_of_something_else_are_refused(run: Path) -> None:
    np.savez_compressed(older(run) / "counts.npz", other=np.ones(3))
    assert "counts.npz" in said(run)


def test_a_checkpoint_of_another_run_is_not_gone_on_from(tmp_path: Path) -> None:
    folders: list[Path] = []
    for seed in (0, 1):
        taken = iter(range(3))
        with pytest.raises(RunError, match="interrupted"):
            train(replace(TINY, seed=seed), root=tmp_path / str(seed), stopping=lambda: next(taken, None) is None)  # noqa: B023 - used at once
        folders += (tmp_path / str(seed)).iterdir()
    shutil.copy(folders[0] / "checkpoint.pt", folders[1] / "checkpoint.pt")
    with pytest.raises(RunError, match=r"checkpoint\.pt is of another run than its folder's; delete it"):
        train(replace(TINY, seed=1), root=tmp_path / "1")


# ---------------------------------------------------------------------------------------------------- processes


@pytest.mark.parametrize(("dropout", "draws"), [(0.0, False), (0.3, True)])
def test_a_run_says_whether_its_steps_drew(dropout: float, draws: bool, tmp_path: Path) -> None:
    result = train(replace(TINY, model=Seq2Seq(embedding=4, hidden=8, dropout=dropout)), root=tmp_path).result
    assert (result.processes, result.draws) == (1, draws)


@pytest.mark.parametrize("draws", [False, True])
def test_a_run_of_two_processes_is_taken_for_one_of_one_only_where_nothing_is_drawn(draws: bool, run: Path) -> None:
    edit(older(run) / "result.json", processes=2, draws=draws)
    for use in (lambda: train(TINY, root=run.parent), lambda: Plan.of({"tiny": TINY}, (0,), None, run.parent)):
        refusal = pytest.raises(RunError, match=r"trained by 2 processes, .* 1 process would have ended with other")
        with refusal if draws else contextlib.nullcontext():
            use()


# ------------------------------------------------------------------------------------------- came to nothing


@objectives.register("test-never-finite")
@dataclass(frozen=True, kw_only=True)
class NeverFinite(Objective):
    requires = (LogProb,)

    def losses(self, p: LogProb, targets: Sequences, context: StepContext) -> Losses:
        return Losses(p.log_prob(targets.candidates()).squeeze(1) * torch.inf)


def test_a_run_without_a_step_is_an_error(tmp_path: Path) -> None:
    idle = replace(TINY, objective=NeverFinite(), trainer=Trainer(epochs=1, max_steps=2, tolerate=10, batch_tokens=40))
    with pytest.raises(RunError, match=r"not one of 2 steps was taken.*never finite; lower the learning rate"):
        train(idle, root=tmp_path)
    assert not list(tmp_path.glob("*/result.json"))


def test_weights_that_are_not_finite_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choose = Training.choose_best

    def spoilt(self: Training) -> dict[str, Any]:
        weights = choose(self)
        return weights | {name: value * torch.nan for name, value in list(weights.items())[:1]}

    monkeypatch.setattr(Training, "choose_best", spoilt)
    with pytest.raises(RunError, match="the weights that scored best are not finite, such as "):
        train(TINY, root=tmp_path)


def test_older_runs_that_came_to_nothing_are_refused(run: Path) -> None:
    weights = torch.load(older(run) / "weights.pt", weights_only=True)
    first = next(iter(weights))
    torch.save(weights | {first: weights[first] * torch.nan}, run / "weights.pt")
    assert f"not finite, such as {first}" in said(run)
    edit(run / "result.json", steps=5, skipped=5)
    assert "not one step was taken" in said(run)


# ----------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("digits", [4, 12, 16, 64])
@pytest.mark.parametrize("end", ["", "…", "..."])
def test_any_beginning_of_an_identity_names_a_run(
    digits: int, end: str, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = Run.load(run).result.identity
    assert Run.load(run.parent / f"{identity[:digits]}{end}").folder.path == run
    (run.parent / "runs").mkdir()
    run.rename(run.parent / "runs" / run.name)
    monkeypatch.chdir(run.parent)
    assert Run.load(identity[:digits] + end).folder == Folder(Path("runs", run.name))


def test_a_beginning_that_several_runs_have_is_refused_with_all_of_them(run: Path) -> None:
    twin = run.parent / f"{run.name[:12]}0000"
    shutil.copytree(run, twin)
    message = rf"{run.name[:5]} may be any of {re.escape(str(min(run, twin)))}, .*; give more digits"
    with pytest.raises(RunError, match=message):
        Run.load(run.parent / run.name[:5])
    with pytest.raises(RunError, match=r"there is no experiment\.json in it"):
        Run.load(run.parent / "ffff00000000")


# ------------------------------------------------------------------------------------------------------ starts


def test_many_starts_are_refused_in_a_sentence(run: Path) -> None:
    experiment = TINY
    for _ in range(20):
        experiment = replace(TINY, start=experiment)
    with pytest.raises(ConfigError, match="may start from at most 20 others"):
        replace(TINY, start=experiment)
    node = json.loads((older(run) / "experiment.json").read_text(encoding="utf-8"))
    for _ in range(200):
        node = {**node, "start": node}
    (run / "experiment.json").write_text(json.dumps(node), encoding="utf-8")
    assert "experiment.json holds no experiment" in said(run)


def test_predictions_are_records_of_source_prediction_and_references(original: Path) -> None:
    run = Run.load(original)
    for split in ("dev", "test"):
        examples = getattr(TINY.task.load(), split)
        found = run.predictions(split)
        assert [each.source for each in found] == [" ".join(example.source) for example in examples]
        assert [each.references for each in found] == [
            tuple(map(TINY.task.render, example.references)) for example in examples
        ]
        assert [each.prediction for each in found] == [TINY.task.render(output) for output in run.outputs(split)]
    with pytest.raises(ConfigError, match=r"split must be one of 'dev', 'test', but got 'tset'; did you mean 'test'\?"):
        run.predictions("tset")  # type: ignore[arg-type]


def test_damaged_predictions_are_refused(run: Path) -> None:
    table = run / "test.predictions.tsv"
    table.write_text(table.read_text(encoding="utf-8").replace("\n", "x\n", 2), encoding="utf-8")
    with pytest.raises(RunError, match="is not what was written when the run ended"):
        Run.load(run).predictions("test")
    older(run)
    table.write_text("source\tprediction\n", encoding="utf-8")
    with pytest.raises(RunError, match=r"holds no predictions .* must be the heading"):
        Run.load(run).predictions("test")
