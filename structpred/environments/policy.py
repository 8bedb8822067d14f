"""A finished run as an agent: its network chooses the next symbol."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from jaxtyping import Float, Int
from torch import Tensor

from structpred.distributions.next_symbol import inverse_cdf
from structpred.distributions.protocols import Distribution, StepScores, TokenLogProbs
from structpred.environments.rules import EncodedTask
from structpred.errors import ConfigError
from structpred.runs import Run
from structpred.sequences import Sequences
from structpred.vocabulary import Symbols, Vocabularies

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
"""Stands for the input symbols that an observation shows as unknown."""

NEEDED = {"source", "source_length", "prefix", "prefix_length", "prefix_mask"}
"""Entries of an observation that a policy reads."""


@dataclass(frozen=True)
class Choice:
    """What a policy chose.

    Attributes:
        action: the next action: a whole number for one observation, an array ``[n]`` for n of them.
        log_prob: ln p(action | prefix, source), in nats; likewise a number or an array.
    """

    action: Any
    log_prob: Any


class Policy:
    """The network of a finished run acts on observations of `SequencePrediction`, single or in a vector.

    Its next action has the probability p(y_t | y_<t, x) that the run's distribution gives it, exactly: sampled actions
    make outputs that are draws of p(y|x), up to the limit of the environment.

    Args:
        run: whose network.
        env: the environment it acts in, wrapped or not; None for one of the run's own task.
        seed: of the policy's own draws.

    Raises:
        ConfigError: the environment's labels are not the run's, or its network cannot act in such an environment.
    """

    def __init__(self, run: Run, env: gymnasium.Env | VectorEnv | None = None, *, seed: int = 0) -> None:
        self.run = run
        self.vocabularies = _vocabularies(run, env)
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, observation: Any, *, greedy: bool = False) -> Choice:
        """The next action, drawn from p or, if ``greedy``, the most probable one."""
        with torch.no_grad():
            log_probs = self.log_probs(observation).double()
            actions = log_probs.argmax(-1) if greedy else inverse_cdf(log_probs, self.generator)
            chosen = log_probs.gather(1, actions.unsqueeze(1)).squeeze(1)
        if np.ndim(observation["source"]) == 1:
            return Choice(int(actions), float(chosen))
        return Choice(actions.numpy(), chosen.numpy())

    def log_probs(self, observation: Any) -> Float[Tensor, "n actions"]:
        """ln p(· | prefix, source) of every action, with gradient to the network's weights; n = 1 for one observation.

        Where no label is left to choose, at the end of a tagged source, all actions are alike.

        Raises:
            ConfigError: this is no observation of `SequencePrediction`, it shows symbols that the policy's task does
                not have, or a source holds an unknown symbol and the network reads symbols by what they are made of.
        """
        if not (isinstance(observation, Mapping) and observation.keys() >= NEEDED):
            raise ConfigError(
                f"a policy acts on observations of SequencePrediction as they are, with {', '.join(sorted(NEEDED))}, "
                f"but got {type(observation).__name__}; leave wrappers that change observations out"
            )
        seen = {name: np.atleast_2d(np.asarray(value)) for name, value in observation.items()}
        self._check_ids(seen)
        lengths = seen["source_length"].reshape(-1), seen["prefix_length"].reshape(-1)
        p = self._distribution(seen["source"], lengths[0])
        labels = torch.from_numpy(np.where(seen["prefix_mask"].astype(bool), seen["prefix"], 0))
        prefixes = Sequences(labels, torch.from_numpy(lengths[1]))
        if not p.fixed_length:
            return _next_of_free_length(p, prefixes)
        return _next_of_fixed_length(p, prefixes, torch.from_numpy(lengths[0]))

    def _check_ids(self, seen: Mapping[str, np.ndarray]) -> None:
        """Refuse what another task's environment shows, as far as its ids give it away."""
        kinds = {
            "source": (len(self.vocabularies.inputs) + 1, "input symbols, one of them for all that are unknown"),
            "prefix": (len(self.vocabularies.labels), "labels"),
        }
        for name, (count, kind) in kinds.items():
            ids, lengths = seen[name], seen[f"{name}_length"].reshape(-1)
            largest = ids[np.arange(ids.shape[1]) < lengths[:, None]].max(initial=0)
            if largest >= count:
                raise ConfigError(
                    f"an observation shows {name} symbol {largest}, but the policy's task has {count} {kind}; act in "
                    "an environment of the task of the run, and give it to Policy if it has other data"
                )

    def _distribution(self, sources: Int[np.ndarray, "n time"], lengths: Int[np.ndarray, " n"]) -> Any:
        """p(· | source) of every observation."""
        inputs = self.vocabularies.inputs
        rows = [ids[:length] for ids, length in zip(sources.tolist(), lengths.tolist(), strict=True)]
        encoder = self.run.codec.encoder
        if (encoder.open_vocabulary or not encoder.symbolic) and any(len(inputs) in row for row in rows):
            raise ConfigError(
                f"an observation shows symbols unknown from training as one and the same, but {type(encoder).__name__} "
                "reads what they are made of; act in the training split, or use Run.predict"
            )
        known = (*inputs.symbols, UNKNOWN)
        symbols: list[Symbols] = [tuple(known[i] for i in row) for row in rows]
        return self.run.model(self.run.codec.read(symbols).gather(torch.arange(len(rows))))


def _next_of_free_length(p: StepScores, prefixes: Sequences) -> Float[Tensor, "n actions"]:
    """The step after each prefix."""
    longest = int(prefixes.lengths.max())
    steps = p.steps(Sequences(prefixes.labels[:, :longest], prefixes.lengths).candidates())
    return steps.log_probs[torch.arange(len(prefixes)), 0, prefixes.lengths]


def _next_of_fixed_length(p: Any, prefixes: Sequences, lengths: Int[Tensor, " n"]) -> Float[Tensor, "n actions"]:
    """The symbol after each prefix, of an output as long as its source.

    A label's probability given those before it is that of any output that goes on with it: what follows the label
    does not matter.
    """
    rows, count = torch.arange(len(prefixes)), p.num_labels
    positions = torch.minimum(prefixes.lengths, (lengths - 1).clamp(min=0))
    labels = torch.zeros(len(prefixes), count, int(lengths.max()), dtype=torch.long)
    width = min(labels.shape[2], prefixes.labels.shape[1])
    labels[:, :, :width] = prefixes.labels[:, None, :width]
    labels[rows, :, positions] = torch.arange(count)
    log_probs = p.token_log_probs(Sequences(labels, lengths.unsqueeze(1).expand(-1, count)))
    chosen: Tensor = log_probs[rows, :, positions]
    finished = (prefixes.lengths >= lengths).unsqueeze(1)
    return torch.where(finished, -torch.tensor(float(count), dtype=chosen.dtype).log(), chosen)


def _vocabularies(run: Run, env: gymnasium.Env | VectorEnv | None) -> Vocabularies:
    """What ids in observations stand for.

    Raises:
        ConfigError: they stand for other labels than the run's network has.
    """
    inner = None if env is None else env.unwrapped
    known = EncodedTask.of(run.experiment.task).vocabularies if inner is None else getattr(inner, "vocabularies", None)
    if not isinstance(known, Vocabularies):
        raise ConfigError(f"Policy.env must be a SequencePrediction environment or a vector of them, but got {env!r}")
    if known.labels != run.codec.vocabularies.labels:
        raise ConfigError(
            f"the run {run.folder.path} chooses among {len(run.codec.vocabularies.labels)} labels and the environment "
            f"among {len(known.labels)} others or in another order; make the environment of the run's own task"
        )
    _check_length(run, inner)
    return known


def _check_length(run: Run, env: Any) -> None:
    """Refuse a tagger where an action ends the output, and a decoder where none does."""
    distribution: type[Distribution] = run.experiment.model.distribution
    if not issubclass(distribution, TokenLogProbs if distribution.fixed_length else StepScores):
        verb = "token_log_probs" if distribution.fixed_length else "steps"
        raise ConfigError(
            f"a policy needs the probability of the next symbol, but {distribution.__name__} does not offer `{verb}`"
        )
    if env is not None and env.rules.fixed_length != distribution.fixed_length:
        raise ConfigError(
            f"{type(run.experiment.model).__name__} {'has no' if distribution.fixed_length else 'has an'} end among "
            f"its symbols, but the environment {'has none' if env.rules.fixed_length else 'has one'}; make the "
            f"environment with fixed_length={distribution.fixed_length}"
        )
