"""Somebody else's agent learns here, from flat observations and masks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sb3_contrib", reason="needs the package sb3-contrib, of the extra dev")

ROOT = Path(__file__).resolve().parents[2]

AGENT = """
from sb3_contrib import MaskablePPO
from structpred.environments import SequencePrediction
from structpred.rewards import EditDistance
from structpred.tasks import SpellingVariants

task = SpellingVariants(size=50, alphabet=2, shortest=1, longest=2, noise=0.01)
env = SequencePrediction(task, EditDistance(), paid="increments")

def mean_return():
    earned = 0.0
    for example in range(len(env.examples)):
        observation, _ = env.reset(options={"example": example})
        over = False
        while not over:
            action, _ = agent.predict(observation, action_masks=env.action_masks(), deterministic=True)
            observation, reward, terminated, truncated, _ = env.step(action)
            earned, over = earned + reward, terminated or truncated
    return earned / len(env.examples)

settings = dict(n_steps=128, batch_size=64, learning_rate=3e-3, gamma=1.0)
agent = MaskablePPO("MultiInputPolicy", env, seed=0, device="cpu", **settings)
print(mean_return())
agent.learn(2048)
print(mean_return())
"""


@pytest.mark.slow
def test_maskable_ppo_learns_to_write_words_of_two_letters(tmp_path: Path) -> None:
    places = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    environment = os.environ | {"PYTHONPATH": places, "OMP_NUM_THREADS": "1"}  # threads wait for each other here
    command = [sys.executable, "-W", "error", "-c", AGENT]  # a process of its own: checks of types would slow it down
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    before, after = map(float, done.stdout.split())
    assert before < -1.5  # what writing nothing at all is paid
    assert after > -0.75
