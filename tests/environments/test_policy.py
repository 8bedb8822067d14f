"""A run acts: by exactly the probabilities of its distribution, and REINFORCE through rollouts is REINFORCE."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from structpred import Experiment, Run, Trainer, train
from structpred.environments import Policy, SequencePrediction, SequencePredictionVectorEnv
from structpred.errors import ConfigError
from structpred.models import CRF, LSTMTagger, Model, Seq2Seq
from structpred.models.inputs import WordEmbedding
from structpred.objectives import REINFORCE, MaximumLikelihood
from structpred.objectives.baselines import NoBaseline
from structpred.rewards import EditDistance, Hamming, Reward
from structpred.sequences import Sequences, spelt
from structpred.tasks import HiddenMarkov
from structpred.testing.spaces import Dictated, every_output, log_probs_of, repeated, tuples_of

LONGEST = 2
"""The decoder's limit; the environment cuts just beyond it, as the decoder's own draws are."""

TASK = HiddenMarkov(size=30, held_out=5, alphabet=2, shortest=3, longest=4)
MODELS: dict[str, Model] = {
    "lstm-tagger": LSTMTagger(embedding=3, hidden=4, dropout=0.0),
    "crf": CRF(embedding=3, hidden=4, dropout=0.0),
    "seq2seq": Seq2Seq(embedding=3, hidden=4, dropout=0.0, length_ratio=1e-9, length_extra=LONGEST),
}
FREE = {"seq2seq"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def run_of(name: str, root: Path) -> Run:
    """A run of one epoch, in float64 and with weights scaled up so that its probabilities are far from uniform."""
    experiment = Experiment(task=TASK, model=MODELS[name], objective=MaximumLikelihood(), trainer=Trainer(epochs=1))
    run = train(experiment, root=root, device="cpu")
    run.model.double()
    with torch.no_grad():
        for parameter in run.model.parameters():
            parameter.mul_(3.0)
    return run


def environment_of(name: str, reward: Reward, **arguments: Any) -> SequencePrediction:
    limit = LONGEST + 1 if name in FREE else None
    return SequencePrediction(TASK, reward, limit=limit, fixed_length=name not in FREE, **arguments)


def gradient(loss: Tensor, network: nn.Module) -> Tensor:
    parameters = list(network.parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    zeros = (torch.zeros_like(each) for each in parameters)
    return torch.cat([(zero if each is None else each).flatten() for each, zero in zip(found, zeros, strict=True)])


def every_rollout(env: SequencePrediction, policy: Policy, example: int) -> list[tuple[list[int], Tensor, float, bool]]:
    """All trajectories: actions, their log-probability with gradient, the sum of rewards, and whether it was cut."""
    found: list[tuple[list[int], Tensor, float, bool]] = []
    waiting: list[list[int]] = [[]]
    while waiting:
        begun = waiting.pop()
        observation, _ = env.reset(options={"example": example})
        log_prob, earned, over, cut = torch.zeros(1, dtype=torch.float64), 0.0, False, False
        for action in begun:
            log_prob = log_prob + policy.log_probs(observation)[:, action]
            observation, reward, terminated, cut, _ = env.step(action)
            earned, over = earned + reward, terminated or cut
        if over:
            found.append((begun, log_prob, earned, cut))
        else:
            waiting += [[*begun, action] for action in range(env.rules.actions)]
    return found


@pytest.mark.parametrize("name", MODELS)
def test_reinforce_through_rollouts_has_the_expected_gradient_of_the_objective(name: str, root: Path) -> None:
    run, reward = run_of(name, root), EditDistance()  # no sum over positions, whose expectation marginals would give
    env = environment_of(name, reward, paid="increments")
    policy, example = Policy(run, env), 3
    rollouts = every_rollout(env, policy, example)
    log_probs = torch.cat([log_prob for _, log_prob, _, _ in rollouts])
    assert float(log_probs.detach().exp().sum()) == pytest.approx(1, abs=1e-12)

    earned = torch.tensor([value for _, _, value, _ in rollouts], dtype=torch.float64)
    through_rollouts = gradient(-(log_probs.detach().exp() * earned * log_probs).sum(), run.model)
    shown = env.examples[example]
    inputs = Sequences.of([run.codec.vocabularies.inputs.encode(spelt(shown.source))])
    targets = Sequences.of([run.codec.vocabularies.labels.encode(shown.references[0])])

    p = run.model(inputs)
    outputs = Sequences.of([[action for action in actions if action < p.num_labels] for actions, *_ in rollouts])
    ended = torch.tensor([not cut for *_, cut in rollouts])
    own = p.log_prob(Sequences(outputs.labels.unsqueeze(0), outputs.lengths.unsqueeze(0), ended.unsqueeze(0)))
    torch.testing.assert_close(log_probs, own[0], rtol=0, atol=1e-12)

    every = every_output(p, len(shown.source), LONGEST)
    exact = gradient(-(p.log_prob(every)[0].exp() * reward.score(every, targets)[0].double()).sum(), run.model)
    assert exact.norm() > 0.01
    torch.testing.assert_close(through_rollouts, exact, rtol=0, atol=1e-12)

    objective = REINFORCE(reward=reward, samples=1, baseline=NoBaseline())
    draws = tuples_of(every, 1)
    p = run.model(repeated(inputs, len(draws)))
    weights = log_probs_of(p, draws).sum(1).exp()
    losses = objective(Dictated(p, draws), repeated(targets, len(draws))).values
    torch.testing.assert_close(through_rollouts, gradient((weights * losses).sum(), run.model), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_sampled_and_greedy_actions_are_those_of_the_distribution(name: str, root: Path) -> None:
    run, n = run_of(name, root), 4000
    env = environment_of(name, EditDistance())
    observation, _ = env.reset(options={"example": 3})
    observation, *_ = env.step(1)
    policy = Policy(run, env, seed=1)
    expected = policy.log_probs(observation)[0].detach().numpy()
    choice = policy({key: np.stack([value] * n) for key, value in observation.items()})
    np.testing.assert_allclose(choice.log_prob, expected[choice.action], rtol=1e-12)  # a batch may round otherwise
    frequencies = np.bincount(choice.action, minlength=len(expected)) / n
    np.testing.assert_allclose(frequencies, np.exp(expected), atol=2 / np.sqrt(n))  # four standard deviations
    again = Policy(run, env, seed=1)({key: np.stack([value] * n) for key, value in observation.items()})
    np.testing.assert_array_equal(again.action, choice.action)
    greedy = policy(observation, greedy=True)
    assert (greedy.action, greedy.log_prob) == (int(expected.argmax()), float(expected.max()))
    env.step(greedy.action)


@pytest.mark.parametrize("name", MODELS)
def test_a_vector_of_prefixes_of_different_lengths_is_scored_as_each_alone(name: str, root: Path) -> None:
    run = run_of(name, root)
    arguments = {"fixed_length": name not in FREE, "limit": 4 if name in FREE else None}
    envs = SequencePredictionVectorEnv(TASK, EditDistance(), num_envs=4, **arguments)  # type: ignore[arg-type]
    policy = Policy(run, envs)
    generator = np.random.default_rng(0)
    observations, _ = envs.reset(seed=0)
    for _ in range(7):  # over the ends of episodes too
        together = policy.log_probs(observations)
        assert torch.isfinite(together).all()
        torch.testing.assert_close(together.exp().sum(1), torch.ones(4, dtype=torch.float64))
        for i in range(4):
            alone = policy.log_probs({key: values[i] for key, values in observations.items()})
            torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-12)
        observations, *_ = envs.step(generator.integers(0, TASK.alphabet, 4))


def test_a_policy_of_another_task_or_another_length_is_refused_in_words(root: Path) -> None:
    tagger, decoder = run_of("crf", root), run_of("seq2seq", root)
    others = replace(TASK, alphabet=3)
    with pytest.raises(ConfigError, match=r"chooses among 2 labels and the environment among 3 others"):
        Policy(tagger, SequencePrediction(others, Hamming()))
    with pytest.raises(ConfigError, match=r"CRF has no end among its symbols, but the environment has one"):
        Policy(tagger, environment_of("seq2seq", EditDistance()))
    with pytest.raises(ConfigError, match=r"Seq2Seq has an end among its symbols, but the environment has none"):
        Policy(decoder, environment_of("crf", Hamming()))
    with pytest.raises(ConfigError, match=r"Policy.env must be a SequencePrediction environment"):
        Policy(tagger, gymnasium.make("CartPole-v1"))
    env = environment_of("crf", Hamming())
    flat = gymnasium.spaces.flatten(env.observation_space, env.reset(seed=0)[0])
    with pytest.raises(ConfigError, match=r"acts on observations of SequencePrediction as they are, .* got ndarray"):
        Policy(tagger, env)(flat)
    other = replace(TASK, size=40, seed=1)  # the same symbols in other examples will do
    assert Policy(tagger, SequencePrediction(other, Hamming())).vocabularies == Policy(tagger).vocabularies


@pytest.mark.parametrize(("entry", "count"), [("source", 3), ("prefix", 2)])
def test_an_observation_of_other_symbols_is_refused(entry: str, count: int, root: Path) -> None:
    env = environment_of("crf", Hamming())
    policy = Policy(run_of("crf", root), env)
    env.reset(seed=0)
    observation, *_ = env.step(0)
    observation[entry][1:] = 99  # behind the only label of the prefix: padding, whatever it holds
    if entry == "prefix":
        policy(observation)
    observation[entry][0] = 7
    with pytest.raises(ConfigError, match=rf"an observation shows {entry} symbol \d+, but .* has {count} "):
        policy(observation)


def test_an_unknown_symbol_is_read_as_unknown_or_refused_by_who_reads_spellings(root: Path) -> None:
    run = run_of("lstm-tagger", root)
    env = environment_of("lstm-tagger", Hamming())
    policy = Policy(run, env)
    observation, _ = env.reset(seed=0)
    observation["source"][0] = env.rules.unknown
    seen = observation["source"][: observation["source_length"][0]].tolist()
    p = run.model(Sequences.of([seen]))
    torch.testing.assert_close(policy.log_probs(observation), p.marginals()[:, 0].log())
    spelling = LSTMTagger(hidden=4, dropout=0.0, inputs=WordEmbedding(size=3))
    reader = train(replace(run.experiment, model=spelling), root=root, device="cpu")
    with pytest.raises(ConfigError, match=r"WordEmbedding reads what they are made of"):
        Policy(reader, env)(observation)
