"""Several processes on one run: the same losses and weights as one, and only one of them writes."""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from lightning_utilities.core.rank_zero import rank_zero_info

from structpred.errors import ConfigError, RunError
from structpred.experiment import Experiment
from structpred.models import Seq2Seq
from structpred.objective import Losses, StepContext
from structpred.objectives import REINFORCE, RML, MaximumLikelihood, SelfNormalised
from structpred.objectives.critics import Learned
from structpred.payoffs import ReweightedPayoff, Temperature
from structpred.rewards import EditDistance, SentenceChrf
from structpred.runs import Run, train
from structpred.sequences import Sequences
from structpred.training import Adam, Trainer, checkpoint
from structpred.training.batching import EpochPlan
from structpred.training.data import EncodedData
from structpred.training.distributed import DistributedContext
from structpred.training.trainer import Training
from tests.support.tiny import Copying

TINY = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=8, hidden=8, dropout=0.0),
    objective=RML(
        payoff=ReweightedPayoff(reward=SentenceChrf(), temperature=Temperature(literal=1.0)),
        estimator=SelfNormalised(k=2),
    ),
    optimiser=Adam(lr=1e-2),
    trainer=Trainer(epochs=100, max_steps=40, batch_tokens=40),  # some batches hold one example: less than processes
)
"""Its reward reads text, so each process binds it to the data, and outputs are drawn ahead of the steps."""
SCRIPT = """
import sys
import torch
from structpred import train
from structpred.files import write_atomically
from tests.training.test_ranks import TINY
torch.set_num_threads(1)
train(TINY, root=sys.argv[1], device="cpu", devices=2, checkpoint_every=0.0)
"""


FITTED = replace(TINY, objective=REINFORCE(reward=EditDistance(), samples=2, baseline=Learned()))
"""Its baseline has buffers."""
FITTED_SCRIPT = """
import sys
from dataclasses import replace
import torch
from structpred import train
from structpred.errors import Interrupted
from tests.training.test_ranks import FITTED
torch.set_num_threads(1)
root, looks = sys.argv[1], 0
def stopping():
    global looks
    looks += 1
    return looks == 2
single = replace(FITTED, trainer=replace(FITTED.trainer, max_steps=3, batch_tokens=1))
train(single, root=root + "/single", device="cpu", devices=2)  # the second process has no example in any batch
train(FITTED, root=root + "/straight", device="cpu", devices=2)
try:
    train(FITTED, root=root + "/interrupted", device="cpu", devices=2, stopping=stopping)
except Interrupted:
    train(FITTED, root=root + "/interrupted", device="cpu", devices=2)
"""


BEGUN = replace(TINY, model=Seq2Seq(embedding=8, hidden=8, dropout=0.1))
LATER = replace(BEGUN, start=BEGUN, trainer=replace(TINY.trainer, max_steps=20))
LATER_SCRIPT = """
import sys
import torch
from structpred import train
from tests.training.test_ranks import LATER
torch.set_num_threads(1)
def observer(progress):
    print(progress.phase, file=sys.stderr, flush=True)
train(LATER, root=sys.argv[1], device="cpu", devices=2, observer=observer)
"""


@dataclass(frozen=True, kw_only=True)
class NotANumber(MaximumLikelihood):
    """Its losses are no numbers from the sixth step on."""

    def losses(self, p: Any, targets: Sequences, context: StepContext) -> Losses:
        found = super().losses(p, targets, context)
        return Losses(found.values * (float("nan") if context.step >= 5 else 1.0))


NOT_FINITE_SCRIPT = """
import os
import sys
from dataclasses import replace
import torch
from structpred import train
from structpred.errors import RunError
from structpred.registry import objectives
from structpred.training.monitoring import Reporter
from tests.support.tiny import Copying
from tests.training.test_ranks import TINY, NotANumber
torch.set_num_threads(1)
objectives.register("not-a-number")(NotANumber)
Reporter.due = lambda self: os.environ.get("LOCAL_RANK") == "1"  # each process has a clock of its own
try:
    train(replace(TINY, task=Copying(train=400), objective=NotANumber()), root=sys.argv[1], device="cpu", devices=2)
except RunError as error:
    print(error, file=sys.stderr, flush=True)
"""


def start(folder: Path, text: str = SCRIPT) -> subprocess.Popen[bytes]:
    """Two processes; the second is started by the first."""
    script = folder / "script.py"
    script.write_text(text, encoding="utf-8")
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-W", "ignore", str(script), str(folder / "runs")]
    return subprocess.Popen(command, env=environment(root), stderr=subprocess.PIPE, start_new_session=True)


def environment(root: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def weights(run: Run) -> dict[str, torch.Tensor]:
    return checkpoint.load(run.folder.weights)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_processes_and_pieces_share_out_every_example_of_a_batch(world: int, count: int) -> None:
    data = EncodedData.of(TINY.task.load(), TINY.model).training
    plan = EpochPlan(data, data, RML(), budget=12, seed=0, epoch=0)
    for position in range(len(plan)):
        parts = [part for rank in range(world) for part in plan.parts(position, count, rank, world)]
        assert sum(part.tokens for part in parts) == plan.tokens(position)
        assert sum(len(part.targets) for part in parts) == len(plan.rows[position])


def test_one_process_has_nobody_to_ask() -> None:
    alone = DistributedContext("cpu")
    assert alone.first
    assert alone.agree(True, False) == (True, False)
    assert alone.spread(lambda items: [item * 2 for item in items], [1, 2, 3]) == [2, 4, 6]
    with pytest.raises(ConfigError, match="devices must be at least 1, but got 0"):
        DistributedContext("cpu", devices=0)


CALLS: dict[str, Callable[[DistributedContext], object]] = {
    "all_gather_object": lambda ranks: ranks.gather(1),
    "all_reduce": lambda ranks: ranks.add_gradients([torch.nn.Parameter(torch.zeros(1))], torch.tensor(False)),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_process_says_that_another_has_ended(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*arguments: object) -> None:
        raise RuntimeError("Connection closed by peer [127.0.0.1]:16799")

    two = DistributedContext("cpu")
    two.world = 2
    monkeypatch.setattr(f"torch.distributed.{call}", closed)
    with pytest.raises(RunError, match=r"^another process of this run has ended"):
        CALLS[call](two)


@pytest.mark.slow(seconds=20)
def test_two_processes_train_as_one_does_and_go_on_where_they_were_killed(tmp_path: Path) -> None:
    one = train(TINY, root=tmp_path / "one", device="cpu")
    pieces = train(replace(TINY, trainer=replace(TINY.trainer, accumulate=2)), root=tmp_path / "pieces", device="cpu")
    process = start(tmp_path)
    while not list(tmp_path.glob("runs/*/checkpoint.1.pt")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=240)
    (folder,) = (tmp_path / "runs").iterdir()
    assert not (folder / "result.json").exists()
    again = start(tmp_path)
    _, said = again.communicate(timeout=240)
    assert again.returncode == 0, said.decode()
    assert b"deprecated" not in said, "PyTorch's advice to us is not for users"
    two = Run.load(folder)
    assert (two.result.processes, two.result.draws) == (2, False)
    assert train(TINY, root=folder.parent, device="cpu").result == two.result, "nothing is drawn, so it is one's own"
    for other in (pieces, two):
        assert other.result.steps == 40
        for mine, its in zip(one.result.history, other.result.history, strict=True):
            assert its.loss == pytest.approx(mine.loss, rel=1e-5)
            assert its.dev == mine.dev
    lines = [json.loads(line) for line in two.folder.log.read_text(encoding="utf-8").splitlines()]
    assert [line["epoch"] for line in lines if "dev/PER" in line] == [each.epoch for each in two.result.history]
    assert not list(folder.glob("checkpoint*"))


@pytest.mark.slow(seconds=20)
def test_a_fitted_baseline_is_that_of_the_whole_batch_and_goes_on_bit_for_bit(tmp_path: Path) -> None:
    process = start(tmp_path, FITTED_SCRIPT)
    try:
        _, said = process.communicate(timeout=240)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, said.decode()
    straight, resumed = (Run.load(next((tmp_path / "runs" / name).iterdir())) for name in ("straight", "interrupted"))
    for one, other in zip(weights(straight).values(), weights(resumed).values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.slow(seconds=20)
def test_two_processes_wait_together_for_a_start_that_another_process_trains(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / BEGUN.identity(BEGUN.task.load().digest)[:16]
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"):
        process = start(tmp_path, LATER_SCRIPT)
        assert process.stderr is not None
        for line in process.stderr:
            if b"waiting for another process to train its start" in line:
                break
        else:
            pytest.fail("it did not wait")
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said.decode()
    assert b"Error" not in said
    begun = Run.load(folder)
    assert (begun.result.processes, begun.result.draws) == (2, True)
    alone = train(replace(LATER, seed=1, start_seed=0), root=folder.parent, device="cpu")
    assert (alone.result.processes, alone.result.steps) == (1, 20), "what it starts from may be of two processes"
    with pytest.raises(RunError, match="was trained by 2 processes"):
        train(BEGUN, root=folder.parent, device="cpu")


@pytest.mark.slow(seconds=20)
def test_two_processes_tell_alike_of_losses_that_are_no_numbers(tmp_path: Path) -> None:
    process = start(tmp_path, NOT_FINITE_SCRIPT)
    _, said = process.communicate(timeout=240)
    lines = [line for line in said.decode().splitlines() if "not finite" in line or "another process" in line]
    assert len(lines) == 2
    assert len(set(lines)) == 1
    (folder,) = (tmp_path / "runs").iterdir()
    assert f"inspect the batch in {folder / 'not_finite.json'}" in lines[0]
    assert (folder / "not_finite.json").exists()


def test_the_engine_gives_no_hints_about_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def hinting(accelerator: object, device: torch.device) -> None:
        rank_zero_info("You are using a device that has Tensor Cores.")

    monkeypatch.setattr("lightning_fabric.accelerators.CPUAccelerator.setup_device", hinting)
    monkeypatch.setattr("structpred.training.distributed.cpu_has_bf16", lambda: True)
    hints = BufferingHandler(10)
    monkeypatch.setattr(logging.getLogger("lightning_fabric"), "handlers", [hints])
    DistributedContext("cpu").fabric("bf16")
    Training(TINY, EncodedData.of(TINY.task.load(), TINY.model), device="cpu")
    assert not hints.buffer
    rank_zero_info("heard again")
    assert [each.getMessage() for each in hints.buffer] == ["heard again"]
