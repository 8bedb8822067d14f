"""The benchmark of a GPU: its code runs on the processor, and what it reports would be noticed if it were wrong."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from structpred.config import registered_name
from structpred.errors import ConfigError, RunError
from structpred.experiments.benchmarks import gpu, gpu_agreement, gpu_speed, on_device
from structpred.experiments.benchmarks.linear_chain import Problem
from structpred.experiments.benchmarks.measuring import standalone
from structpred.models import Model, Seq2Seq, Transformer
from structpred.task import Example, Splits
from structpred.training import checkpoint
from structpred.training.data import EncodedData

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def rehearsed() -> dict[str, dict[str, Any]]:
    """The figures of every part in small sizes, on invented data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("STRUCTPRED_DATA", raising=False)
        return {name: part(CPU) for name, part in gpu.REHEARSED.items()}


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.slow
def test_every_part_can_be_rehearsed_and_written_down(rehearsed: dict[str, dict[str, Any]]) -> None:
    assert list(rehearsed) == list(gpu.PARTS)
    assert json.loads(json.dumps(rehearsed)) == rehearsed


@pytest.mark.slow
def test_a_processor_agrees_with_itself_and_every_way_to_draw_is_told_apart(
    rehearsed: dict[str, dict[str, Any]],
) -> None:
    found = rehearsed["agreement"]
    assert (found["agree"], found["disagree"], found["largest_gradient_difference"]) == (found["steps"], "none", 0)
    draws = {(row["objective"], row["model"]): row["draws"] for row in found["table"]}
    assert draws["maximum-likelihood", "crf"] == "none"
    assert draws["rml edit-distance sampled", "seq2seq"] == "ahead"
    assert draws["scheduled-sampling", "seq2seq"] == draws["optimal-completion", "seq2seq"] == "in the step"
    assert found["promise_not_to_wait"] == sum(row["promises"] for row in found["table"]) > 0
    assert {row["waits"] for row in found["table"]} == {-1}


def test_every_pair_of_the_capability_table_is_stepped() -> None:
    named = {(registered_name(objective), registered_name(model)) for objective, model in gpu_agreement.pairs()}
    assert {("rml", "seq2seq"), ("distillation", "crf"), ("mixer", "seq2seq"), ("max-margin", "crf")} <= named
    assert {model for _, model in named} == {"crf", "lstm-tagger", "seq2seq", "transformer"}


@pytest.mark.parametrize(("change", "loss", "gradient"), [(1e-2, 1e-2, 0), (0, 0, 1e-2), (float("nan"), None, None)])
def test_what_does_not_agree_is_measured(change: float, loss: float | None, gradient: float | None) -> None:
    one = gpu_agreement.Outcome(torch.tensor([2.0, 0.5]), [torch.tensor([[4.0, -1.0]]), torch.zeros(2)], 0)
    moved = 0.01 if gradient else 0.0
    other = gpu_agreement.Outcome(one.losses * (1 + change), [one.gradients[0] * (1 - moved), torch.zeros(2)], 0)
    found = gpu_agreement.differences(one, other)
    expected = (float("inf"), float("inf")) if loss is None or gradient is None else (loss, gradient)
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_a_device_whose_arithmetic_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    step, calls = gpu_agreement.step, iter(range(100))

    def every_other_is_off(*arguments: Any) -> Any:
        outcome, waited = step(*arguments)
        return replace(outcome, losses=outcome.losses * (1 + 1e-3 * (next(calls) % 2))), waited

    monkeypatch.setattr(gpu_agreement, "step", every_other_is_off)
    found = gpu_agreement.agreement(CPU, only=("perceptron",), size=8)
    assert (found["agree"], found["disagree"]) == (0, "perceptron on crf; perceptron on lstm-tagger")


def test_random_numbers_are_handed_out_whatever_generator_was_asked() -> None:
    def drawn(seed: int, own: int) -> torch.Tensor:
        with gpu_agreement.Handed(seed) as handed:
            generator = torch.Generator().manual_seed(own)
            found = torch.cat([torch.rand(3, generator=generator), torch.zeros(2).uniform_(generator=generator)])
            found = torch.cat([found, torch.randint(9, (1,), generator=generator), torch.rand(1)])
        assert handed.drawn == 7
        return found

    assert torch.equal(drawn(0, 1), drawn(0, 2))
    assert not torch.equal(drawn(0, 1), drawn(1, 1))


def test_what_is_captured_as_a_graph_is_the_gradient_of_training() -> None:
    problem = gpu_speed.on(Problem.random(3, 5, 4), CPU)
    fixed = gpu_speed.FixedChain(problem)
    fixed()
    expected = torch.autograd.grad(-problem.log_probs().sum(), fixed.leaves)
    for mine, its in zip(fixed.gradients, expected, strict=True):
        torch.testing.assert_close(mine, its)
    assert on_device.captured(fixed, CPU) is None
    assert problem.targets.lengths.tolist() == [5, 5, 5]


@pytest.mark.slow
def test_a_chain_and_draws_are_checked_while_they_are_timed(rehearsed: dict[str, dict[str, Any]]) -> None:
    chain, draws = rehearsed["chain"], rehearsed["draws"]
    assert chain["largest_difference_from_torchcrf_4x6x5"] < 1e-5
    assert chain["graph_gradient_error_4x6x5"] < 1e-5
    assert chain["graph_ms_4x6x5"] == "none: a processor has no graphs"
    share, symbols = draws["hamming_share_expected"], 256 * 25
    sigma = (share * (1 - share) / symbols) ** 0.5
    assert abs(draws["hamming_share_changed"] - share) < 5 * sigma  # fails once in two million sources
    assert draws["edit_distance_mean_edits"] > 0
    assert draws["sampling_outputs"] == 20


READ, WRITTEN, LABELS = 8, 6, 11
"""Symbols of each input and output with their ends, in `pairs_of_a_length`, and how many there are."""


def pairs_of_a_length() -> Splits:
    words = tuple(f"w{i}" for i in range(LABELS))
    train = tuple(
        Example(words[: READ - 1], (tuple(words[(i + j) % LABELS] for j in range(WRITTEN - 1)),), f"pair {i}")
        for i in range(LABELS)
    )
    return Splits(train, train[:1], train[:1], "made for this")


def operations_of_seq2seq(embedding: int, hidden: int) -> int:
    half = hidden // 2
    encoder = READ * 2 * 4 * half * (embedding + half)
    decoder = WRITTEN * 4 * hidden * (embedding + hidden)
    attention = READ * 2 * hidden * hidden + WRITTEN * 2 * READ * hidden
    output = WRITTEN * (hidden * hidden + hidden * (LABELS + 1))
    bridge = hidden * 2 * hidden
    return encoder + decoder + attention + output + bridge


def operations_of_transformer(hidden: int, feedforward: int) -> int:
    """One layer on either side."""
    encoder = READ * hidden * (hidden + 4 * hidden + 2 * READ + 2 * feedforward)
    memory = READ * 2 * hidden * hidden
    decoder = WRITTEN * hidden * (4 * hidden + 2 * WRITTEN + 2 * hidden + 2 * READ + 2 * feedforward)
    output = WRITTEN * hidden * (LABELS + 1)
    return encoder + memory + decoder + output


@pytest.mark.parametrize(
    ("model", "operations"),
    [
        (Seq2Seq(embedding=8, hidden=12, dropout=0.0), operations_of_seq2seq(8, 12)),
        (
            Transformer(hidden=12, heads=2, feedforward=8, encoder_layers=1, decoder_layers=1, dropout=0.0),
            operations_of_transformer(12, 8),
        ),
    ],
    ids=["seq2seq", "transformer"],
)
def test_operations_are_those_of_the_matrix_products(model: Model, operations: int) -> None:
    """Three products for each of the forward pass, two operations a cell, on one batch without padding."""
    prepared = EncodedData.of(pairs_of_a_length(), model)
    found = gpu_speed.operations_per_token(prepared, model, budget=1000)
    assert found == pytest.approx(6 * operations / WRITTEN, rel=0.1)


@pytest.mark.slow
def test_captions_that_are_not_there_are_invented(rehearsed: dict[str, dict[str, Any]]) -> None:
    assert rehearsed["translation"]["data"] == "invented"
    splits, _ = gpu_speed.pairs_of_sentences(500)
    lengths = [len(example.source) for example in splits.train]
    assert 11 < sum(lengths) / len(lengths) < 13
    assert gpu_speed.pairs_of_sentences(500)[0].train == splits.train


@pytest.mark.slow
def test_a_run_resumes_bit_by_bit_on_a_processor(rehearsed: dict[str, dict[str, Any]]) -> None:
    assert set(rehearsed["resume"].values()) == {"bit-exact"}


@pytest.mark.slow
def test_a_checkpoint_that_forgets_something_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    load = checkpoint.load

    def forgetful(path: Path) -> checkpoint.State:
        state = load(path)
        fresh = torch.Generator().manual_seed(99).get_state()
        return state | {"random": state["random"] | {"torch": fresh}}

    monkeypatch.setattr(checkpoint, "load", forgetful)
    experiment = gpu.REHEARSED["resume"].keywords["experiments"]["tagger_likelihood"]  # type: ignore[attr-defined]
    (said,) = gpu.resume(CPU, {"it": experiment}).values()
    assert str(said).startswith("not bit-exact: weights differ by up to ")
    assert str(said).endswith(", though the run repeats itself without a stop")


@pytest.mark.parametrize(
    ("rates", "limit", "ended"),
    [
        ([100, 190, 200], 1e9, "at 4 runs, whose throughput is 1.05 × that before"),
        ([100, 200, 400], 1e9, "at 4 runs, while throughput was growing still"),
        ([100, RunError("no memory")], 1e9, "at 2 runs: no memory"),
        ([100], -1.0, "before 1 runs, after -1 seconds"),
    ],
)
def test_packing_ends_where_throughput_grows_no_more(
    rates: list[float | RunError], limit: float, ended: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    coming = iter(rates)

    def rate(*_: object) -> float:
        found = next(coming)
        if isinstance(found, RunError):
            raise found
        return found

    monkeypatch.setattr(gpu, "_rate", rate)
    assert gpu.packing(CPU, counts=(1, 2, 4), limit=limit)["ended"] == ended


def test_a_processor_is_never_waited_for_and_always_done() -> None:
    with on_device.waits_counted(CPU) as waited:
        torch.ones(1).item()
    assert waited == []
    on_device.finish(CPU)
    busy = on_device.utilisation(lambda: sum(range(10**6)), CPU)
    assert isinstance(busy, float)
    assert busy > 0


def test_a_pair_that_does_not_fit_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)

    def greedy() -> None:
        raise torch.OutOfMemoryError

    assert on_device.in_turns(lambda: None, greedy, CPU, 3) is None


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    def run(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["gpu", *arguments])
        try:
            standalone(gpu.main)
        except SystemExit as ended:
            return int(ended.code or 0)
        return 0

    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # which the command sets for its process
    return run


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_the_parts_that_are_skipped_are_named_in_one_sentence(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert command("--to", str(tmp_path / "figures.jsonl")) == 77
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("skipped: the parts agreement, chain, draws, translation, packing, resume need a CUDA ")
    assert said.err.count("\n") == 1
    assert not (tmp_path / "figures.jsonl").exists()
    assert command("chain", "draws") == 77
    assert capsys.readouterr().err.startswith("skipped: the parts chain, draws need a CUDA device")


def test_a_part_that_is_none_and_a_file_in_no_folder_are_refused(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert command("chains", "--device", "cpu") == 2
    assert capsys.readouterr().err == (
        "structpred: no part is named 'chains'; there are agreement, chain, draws, translation, packing, resume\n"
    )
    assert command("chain", "--device", "cpu", "--to", str(tmp_path / "nowhere" / "figures")) == 2
    assert "nowhere/figures: cannot be written (No such file or directory); name a file" in capsys.readouterr().err


def test_figures_are_written_as_soon_as_they_are_there_and_none_is_lost(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    place = tmp_path / "figures.jsonl"
    place.write_text('{"part": "of an earlier call"}\n', encoding="utf-8")

    def parts_written() -> list[str]:
        return [json.loads(line)["part"] for line in place.read_text(encoding="utf-8").splitlines()]

    def failing(device: torch.device) -> dict[str, object]:
        assert parts_written() == ["of an earlier call", "card", "first"]
        raise RuntimeError("the card fell out")

    parts: dict[str, gpu.Part] = {
        "first": lambda device: {"figure": 1.5, "table": [{"row": 1}]},
        "second": failing,
        "third": lambda device: {"figure": 2},
    }
    assert gpu.measure(parts, CPU, place) == 1
    assert parts_written() == ["of an earlier call", "card", "first", "second", "third"]
    said = capsys.readouterr()
    last = json.loads(said.out.splitlines()[-1])
    assert (last["first_figure"], last["third_figure"]) == (1.5, 2)
    assert last["second_failed"] == "RuntimeError: the card fell out"
    assert "first_table" not in last
    assert json.loads(said.out.splitlines()[1]) == {"part": "first", "figure": 1.5, "table": [{"row": 1}]}
    assert "the card fell out" in said.err


def test_parts_are_chosen_in_their_order() -> None:
    assert list(gpu.chosen(["resume", "chain"], gpu.PARTS)) == ["chain", "resume"]
    assert list(gpu.chosen([], gpu.PARTS)) == list(gpu.PARTS)
    with pytest.raises(ConfigError, match="no part is named 'all'"):
        gpu.chosen(["all"], gpu.PARTS)
