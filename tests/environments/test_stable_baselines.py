"""Agents of stable-baselines3: they step our episodes, read our sources, and follow the gradient of our objectives."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from scipy import stats
from torch import Tensor, nn

from structpred import Experiment, Run, Trainer, train
from structpred.environments import Policy, SequencePrediction
from structpred.errors import ConfigError
from structpred.models import LSTMTagger
from structpred.objectives import ExpectedReward, MaximumLikelihood
from structpred.rewards import EditDistance, Hamming, Reward
from structpred.sequences import Sequences, spelt
from structpred.task import Task
from structpred.tasks import HiddenMarkov, SpellingVariants

sb3_contrib = pytest.importorskip("sb3_contrib", reason="needs the extra rl: pip install structpred[rl]")

import stable_baselines3  # noqa: E402
from stable_baselines3.common.env_checker import check_env  # noqa: E402
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv  # noqa: E402

from structpred.environments.stable_baselines import AgentsVecEnv, SourceReader  # noqa: E402

TAGGING = HiddenMarkov(size=20, held_out=5, alphabet=3, shortest=1, longest=4)
FREE = SpellingVariants(size=20, held_out=5, alphabet=2, shortest=1, longest=3)
KINDS: dict[str, tuple[Task, Reward]] = {"tagging": (TAGGING, Hamming()), "free": (FREE, EditDistance())}


@pytest.mark.parametrize("kind", KINDS)
def test_their_own_checker_accepts_the_environment(kind: str) -> None:
    check_env(SequencePrediction(*KINDS[kind], paid="increments"), warn=True)


@pytest.mark.parametrize("kind", KINDS)
def test_the_vector_is_their_loop_over_single_environments(kind: str) -> None:
    """The same episodes, rewards, masks and last observations as ``DummyVecEnv`` of ours; actions disobey the masks."""
    task, reward = KINDS[kind]
    ours = AgentsVecEnv(task, reward, num_envs=3, paid="increments")
    theirs = DummyVecEnv([lambda: SequencePrediction(task, reward, paid="increments")] * 3)
    for envs in (ours, theirs):
        envs.seed(5)
    same(ours.reset(), theirs.reset())
    generator, ends = np.random.default_rng(0), 0
    for _ in range(40):
        np.testing.assert_array_equal(ours.env_method("action_masks"), theirs.env_method("action_masks"))
        actions = generator.integers(0, ours.envs.rules.actions, 3)
        one, other = ours.step(actions), theirs.step(actions)
        same(one[0], other[0])
        np.testing.assert_allclose(one[1], other[1], atol=1e-6)
        np.testing.assert_array_equal(one[2], other[2])
        for i in one[2].nonzero()[0].tolist():
            ends += 1
            same(one[3][i]["terminal_observation"], other[3][i]["terminal_observation"])
            assert one[3][i]["TimeLimit.truncated"] == other[3][i]["TimeLimit.truncated"]
    assert ours.ended == ends > 10


def same(one: Any, other: Any) -> None:
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_a_return_is_told_with_the_end_of_its_episode() -> None:
    envs = AgentsVecEnv(TAGGING, Hamming(), num_envs=2, paid="increments")
    envs.set_options([{"example": 3}, {"example": 7}])
    envs.reset()
    sources = [TAGGING.load().train[i].source for i in (3, 7)]
    earned, told = np.zeros(2), [0.0, 0.0]
    for step in range(1, max(map(len, sources)) + 1):
        _, rewards, over, infos = envs.step(np.zeros(2, np.int64))
        for i, source in enumerate(sources):
            if step <= len(source):
                earned[i] += rewards[i]
                assert over[i] == (step == len(source))
            if step == len(source):
                assert infos[i]["episode"] == {"r": earned[i], "l": step}
                assert infos[i]["example"] == (3, 7)[i]
                told[i] = infos[i]["episode"]["r"]
    assert told != [0.0, 0.0]


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: AgentsVecEnv(TAGGING, Hamming(), autoreset_mode="Disabled"), "no argument 'autoreset_mode'"),
        (lambda: AgentsVecEnv(TAGGING, Hamming()).set_attr("limit", 3), "none has an attribute 'limit' of its own"),
        (lambda: with_options([{"reset_mask": 1}, {}]).reset(), "takes one option in each episode, 'example'"),
        (lambda: SourceReader(spaces.Dict({"pixels": spaces.Discrete(2)})), "observations of SequencePrediction"),
        (lambda: SourceReader(space(), hidden=5), "hidden must be even"),
    ],
    ids=["autoreset", "attribute", "options", "space", "odd"],
)
def test_mistakes(mistake: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        mistake()


def with_options(options: list[dict[str, Any]]) -> AgentsVecEnv:
    envs = AgentsVecEnv(TAGGING, Hamming(), num_envs=2)
    envs.set_options(options)
    return envs


def space() -> spaces.Dict:
    found = SequencePrediction(TAGGING, Hamming()).observation_space
    assert isinstance(found, spaces.Dict)
    return found


def test_the_reader_sees_position_last_label_and_source_and_no_padding() -> None:
    torch.manual_seed(0)
    reader = SourceReader(space(), embedding=3, hidden=4)
    seen = {
        "source": [[0, 1, 2, 4]],  # 3 symbols, 3 would be an unknown one, 4 is padding
        "source_length": [[3]],
        "source_mask": [[1, 1, 1, 0]],
        "prefix": [[2, 3, 3, 3]],
        "prefix_length": [[1]],
        "prefix_mask": [[1, 0, 0, 0]],
    }

    def features(**changes: list[list[int]]) -> Tensor:
        found: Tensor = reader({name: torch.tensor(value).float() for name, value in (seen | changes).items()})
        assert found.shape == (1, reader.features_dim)
        return found.detach()

    base = features()
    assert torch.equal(base, features(source=[[0, 1, 2, 0]]))
    changes: list[dict[str, list[list[int]]]] = [
        {"source": [[0, 1, 3, 4]]},  # what comes later, and is unknown
        {"source": [[1, 1, 2, 4]]},  # what came before
        {"prefix": [[1, 3, 3, 3]]},
        {"prefix": [[2, 2, 3, 3]], "prefix_length": [[2]], "prefix_mask": [[1, 1, 0, 0]]},
    ]
    for change in changes:
        assert not torch.allclose(base, features(**change)), change
    assert torch.isfinite(features(prefix_length=[[4]])).all()  # past the end of the source, where length is free


# ------------------------------------------------------------------------------------------------------- gradients

LENGTH = 3
TINY = HiddenMarkov(size=2, held_out=1, alphabet=2, shortest=LENGTH, longest=LENGTH, seed=1)
N = 2048
"""Episodes of a Monte Carlo estimate."""

FALSE_ALARM = 1e-6


class OfRun(BaseFeaturesExtractor):
    """The network of a run: its features are the log-probabilities of the actions."""

    def __init__(self, observation_space: spaces.Dict, run: Run) -> None:
        policy = Policy(run)
        super().__init__(observation_space, len(policy.vocabularies.labels))
        self.model, self.policy = run.model, policy

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        return self.policy.log_probs({name: each.long().numpy() for name, each in observations.items()})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Of one epoch, in float64, with weights scaled up so that its probabilities are far from uniform."""
    model = LSTMTagger(embedding=2, hidden=2, dropout=0.0)
    experiment = Experiment(task=TINY, model=model, objective=MaximumLikelihood(), trainer=Trainer(epochs=1))
    made = train(experiment, root=tmp_path_factory.mktemp("runs"), device="cpu")
    made.model.double()
    with torch.no_grad():
        for parameter in made.model.parameters():
            parameter.mul_(3.0)
    return made


def flat(tensors: Any) -> Tensor:
    return torch.cat([each.detach().flatten() for each in tensors])


def gradient(loss: Tensor, network: nn.Module) -> Tensor:
    parameters = list(network.parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
    return flat(torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True))


def agent_of(name: str, run: Run, paid: str, critic: bool) -> Any:
    """An agent that acts by the run's network and takes one plain step of gradient descent after N whole episodes."""
    made = {"A2C": stable_baselines3.A2C, "MaskablePPO": sb3_contrib.MaskablePPO}[name]
    whole = {"n_epochs": 1, "batch_size": N * LENGTH} if name == "MaskablePPO" else {"use_rms_prop": False}
    agent = made(
        "MultiInputPolicy",
        AgentsVecEnv(TINY, Hamming(), num_envs=N, paid=paid),
        n_steps=LENGTH, gamma=1.0, gae_lambda=1.0, learning_rate=1.0, max_grad_norm=1e9,
        ent_coef=0.0, vf_coef=0.0, normalize_advantage=False, seed=3, device="cpu", **whole,
        policy_kwargs={
            "features_extractor_class": OfRun,
            "features_extractor_kwargs": {"run": run},
            "net_arch": [],
            "ortho_init": False,  # it would start the run's output layer anew
            "optimizer_class": torch.optim.SGD,
            "optimizer_kwargs": {},
        },
    )  # fmt: skip
    agent.policy.action_net = nn.Identity()  # the features are log-probabilities already
    nn.init.constant_(agent.policy.value_net.weight, 0.5 if critic else 0.0)  # a poor critic leaves no bias either
    agent.policy.double()
    return agent


def every_gradient(agent: Any, run: Run, paid: str, example: int) -> tuple[Tensor, Tensor]:
    """Probabilities of all outputs, and −Σ_t (G_t − V_t) ∇ln p_t of each."""
    env, policy = SequencePrediction(TINY, Hamming(), paid=paid), Policy(run)
    probabilities, gradients = [], []
    for actions in product(range(2), repeat=LENGTH):
        observation, _ = env.reset(options={"example": example})
        log_probs, values, rewards = [], [], []
        for action in actions:
            log_probs.append(policy.log_probs(observation)[0, action])
            with torch.no_grad():
                values.append(agent.policy.predict_values(agent.policy.obs_to_tensor(observation)[0])[0, 0])
            observation, reward, *_ = env.step(action)
            rewards.append(reward)
        to_go = torch.tensor(rewards, dtype=torch.float64).flip(0).cumsum(0).flip(0)
        written = torch.stack(log_probs)
        probabilities.append(written.detach().sum().exp())
        gradients.append(gradient(-((to_go - torch.stack(values)) * written).sum(), run.model))
    return torch.stack(probabilities), torch.stack(gradients)


@pytest.mark.parametrize(
    ("name", "paid", "critic"),
    [("A2C", "end", False), ("A2C", "increments", True), ("MaskablePPO", "increments", True)],
    ids=["REINFORCE", "A2C", "MaskablePPO"],
)
def test_a_step_of_theirs_is_the_exact_gradient_of_the_objective_within_monte_carlo_error(
    name: str, paid: str, critic: bool, run: Run
) -> None:
    """REINFORCE is A2C without a critic, paid at the end. False alarms: one seed in a million; the seed is fixed."""
    shown = TINY.load().train
    codec = run.codec.vocabularies
    p = run.model(Sequences.of([codec.inputs.encode(spelt(example.source)) for example in shown]))
    targets = Sequences.of([codec.labels.encode(example.references[0]) for example in shown])
    exact = gradient(ExpectedReward(reward=Hamming())(p, targets).values.mean(), run.model)

    agent = agent_of(name, run, paid, critic)
    found = [every_gradient(agent, run, paid, example) for example in range(len(shown))]
    weights = torch.cat([each for each, _ in found]) / len(shown)
    gradients = torch.cat([each for _, each in found])
    assert float(weights.sum()) == pytest.approx(1, abs=1e-12)
    torch.testing.assert_close(weights @ gradients, exact, rtol=0, atol=1e-12)  # no bias
    deviation = (weights @ (gradients - exact).square()).sqrt() / N**0.5

    before = [parameter.detach().clone() for parameter in run.model.parameters()]
    agent.learn(N * LENGTH)
    estimated = LENGTH * (flat(before) - flat(run.model.parameters()))  # their loss is a mean over steps, not episodes
    with torch.no_grad():
        for parameter, value in zip(run.model.parameters(), before, strict=True):
            parameter.copy_(value)
    bound = float(stats.norm.isf(FALSE_ALARM / 2 / len(exact)))
    assert ((estimated - exact).abs() <= bound * deviation + 1e-6).all()  # float32 in their buffer
    assert (exact.abs() > 2 * bound * deviation).any()  # so that no gradient at all would be noticed


@pytest.mark.slow(seconds=2)
def test_maskable_ppo_learns_to_tag() -> None:
    task = HiddenMarkov(size=50, held_out=20, alphabet=2, shortest=2, longest=4, noise=0.05)
    envs = AgentsVecEnv(task, Hamming(), num_envs=16, paid="increments")
    network = {"features_extractor_class": SourceReader, "features_extractor_kwargs": {"embedding": 8, "hidden": 8}}
    settings = {"n_steps": 16, "batch_size": 64, "n_epochs": 4, "learning_rate": 1e-2, "gamma": 1.0, "device": "cpu"}
    agent = sb3_contrib.MaskablePPO("MultiInputPolicy", envs, seed=0, policy_kwargs=network, **settings)
    agent.learn(2048)
    returns = [told["r"] for told in agent.ep_info_buffer]
    assert len(returns) == 100
    assert np.mean(returns) > -0.8  # of three labels, one and a half are wrong by chance; 0.15 at best
