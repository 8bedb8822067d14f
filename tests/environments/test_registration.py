"""Registered environments are found without an import of ours, and finding them costs nothing."""

import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import pytest

import structpred.environments
from structpred.environments import IDS, SequencePrediction, SequencePredictionVectorEnv
from structpred.errors import ConfigError
from structpred.rewards import SentenceBleu
from structpred.tasks import HiddenMarkov

ROOT = Path(__file__).resolve().parents[2]

BY_NAME = """
import gymnasium

env = gymnasium.make("structpred.environments:structpred/HiddenMarkov-v0", size=20)
envs = gymnasium.make_vec("structpred.environments:structpred/HiddenMarkov-v0", num_envs=3, size=20)
print(type(env.unwrapped).__name__, type(envs).__name__, envs.num_envs, len(env.unwrapped.examples))
"""
EVERY_MODE = """
import gymnasium
import numpy as np

ID = "structpred.environments:structpred/HiddenMarkov-v0"


def one():
    return gymnasium.make(ID, size=20)


def main():
    spawn = {"context": "spawn"}
    made = {"default": gymnasium.make_vec(ID, num_envs=2, size=20)}
    for mode, count, settings in (("sync", 2, None), ("vector_entry_point", 2, None), ("async", 1, spawn)):
        made[mode] = gymnasium.make_vec(ID, num_envs=count, size=20, vectorization_mode=mode, vector_kwargs=settings)
    made["own workers"] = gymnasium.vector.AsyncVectorEnv([one], **spawn)
    observed = {}
    for name, envs in made.items():
        observations = [envs.reset(seed=3)[0]["source"]]
        observations += [envs.step(np.array([1, 0][: envs.num_envs]))[0]["prefix"] for _ in range(3)]
        observed[name] = observations
        print(name, type(envs).__name__)
        envs.close()
    for name, observations in observed.items():
        for found, wanted in zip(observations, observed["default"]):
            assert np.array_equal(found, wanted[: len(found)]), name


if __name__ == "__main__":
    main()
"""
REGISTERED = """
import sys
import time
import gymnasium

start = time.perf_counter()
import structpred.environments

took = time.perf_counter() - start
heavy = {"torch", "optuna", "lightning_fabric", "matplotlib", "structpred.tasks"} & set(sys.modules)
assert not heavy, heavy
assert all(id in gymnasium.registry for id in structpred.environments.IDS)
print(1000 * took)
"""


def python(code: str, folder: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_an_id_that_names_the_package_needs_no_import(tmp_path: Path) -> None:
    assert python(BY_NAME, tmp_path).split() == ["SequencePrediction", "SequencePredictionVectorEnv", "3", "20"]


@pytest.mark.slow(seconds=20)
def test_every_way_to_vectorise_such_an_id_needs_no_import_and_shows_the_same_episodes(tmp_path: Path) -> None:
    """Also in worker processes, which are started afresh and so have imported nothing of ours; they take seconds to."""
    script = tmp_path / "vectorised.py"
    script.write_text(EVERY_MODE, encoding="utf-8")
    assert python(f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')", tmp_path).splitlines() == [
        "default SequencePredictionVectorEnv",
        "sync SyncVectorEnv",
        "vector_entry_point SequencePredictionVectorEnv",
        "async AsyncVectorEnv",
        "own workers AsyncVectorEnv",
    ]


@pytest.mark.slow
def test_without_the_module_an_id_is_unknown_until_it_is_imported(tmp_path: Path) -> None:
    """As Gymnasium has it since 1.0: the day it reads entry points again, docs/environments.md is to be mended."""
    code = "import gymnasium, structpred; print('structpred/HiddenMarkov-v0' in gymnasium.registry)"
    assert python(code, tmp_path) == "False\n"


@pytest.mark.slow(seconds=2)
def test_registering_imports_nothing_heavy_and_adds_less_than_twenty_milliseconds(tmp_path: Path) -> None:
    took = [float(python(REGISTERED, tmp_path)) for _ in range(5)]
    assert statistics.median(took) < 20


@pytest.mark.parametrize("id", IDS)
def test_every_id_is_registered_with_both_kinds(id: str) -> None:
    spec = gymnasium.spec(id)
    for entry, kind in ((spec.entry_point, SequencePrediction), (spec.vector_entry_point, SequencePredictionVectorEnv)):
        assert isinstance(entry, str)
        assert gymnasium.envs.registration.load_env_creator(entry) is kind
    assert spec.kwargs == IDS[id]


def test_arguments_pass_through_to_the_task_and_the_environment() -> None:
    env = gymnasium.make("structpred/HiddenMarkov-v0", size=20, noise=0.1, reward="bleu", split="dev").unwrapped
    assert isinstance(env, SequencePrediction)
    assert (env.rules.task, env.rules.reward) == (HiddenMarkov(size=20, noise=0.1), SentenceBleu())
    assert len(env.examples) == HiddenMarkov().held_out
    envs = gymnasium.make_vec("structpred/HiddenMarkov-v0", num_envs=2, size=20, autoreset_mode="SameStep")
    assert isinstance(envs, SequencePredictionVectorEnv)
    assert envs.metadata["autoreset_mode"] is gymnasium.vector.AutoresetMode.SAME_STEP
    singly = gymnasium.make_vec("structpred/HiddenMarkov-v0", num_envs=2, vectorization_mode="sync", size=20)
    assert (envs.single_action_space, singly.num_envs) == (singly.single_action_space, 2)


def test_a_misspelt_field_is_one_sentence_with_the_nearest_name() -> None:
    message = r"neither SequencePrediction has an argument nor HiddenMarkov a field '{}'; did you mean '{}'\?"
    for wrong, right in (("sise", "size"), ("spilt", "split")):
        arguments: dict[str, Any] = {wrong: 20}
        with pytest.raises(ConfigError, match=message.format(wrong, right)):
            gymnasium.make("structpred/HiddenMarkov-v0", **arguments)
        with pytest.raises(ConfigError, match=message.format(wrong, right)):
            gymnasium.make_vec("structpred/HiddenMarkov-v0", **arguments)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    assert set(structpred.environments.__all__) <= set(dir(structpred.environments))
    with pytest.raises(AttributeError, match=r"module 'structpred.environments' has no attribute 'nothing'"):
        getattr(structpred.environments, "nothing")  # noqa: B009 - as an attribute, mypy would refuse it
