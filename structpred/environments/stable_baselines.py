"""Agents of stable-baselines3 and sb3-contrib: our vector of episodes as theirs, and a network that reads our sources.

Needs the extra ``rl``. Nothing else imports this module: ``structpred.environments`` works without those packages.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from structpred.environments.rules import RewardLike, TaskLike
from structpred.environments.vector import SequencePredictionVectorEnv
from structpred.errors import ConfigError
from structpred.models.base import SymbolTable
from structpred.models.encoder import RecurrentEncoder
from structpred.sequences import Sequences

try:
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as error:  # of a package that the extra brings
    raise ConfigError(
        "agents of stable-baselines3 need packages that are not installed: pip install structpred[rl]"
    ) from error

Indices = int | Iterable[int] | None
Returned = tuple[Any, Float[np.ndarray, " n"], Bool[np.ndarray, " n"], list[dict[str, Any]]]


class AgentsVecEnv(VecEnv):
    """`SequencePredictionVectorEnv` as the ``VecEnv`` that stable-baselines3 steps.

    Its own ``DummyVecEnv`` steps single environments in a loop; here n episodes are stepped by the same NumPy
    operations. An episode that is over is followed by the next at once. As stable-baselines3 expects, ``infos[i]`` then
    holds ``"terminal_observation"``, ``"TimeLimit.truncated"``, and under ``"episode"`` the return ``"r"`` and the
    length ``"l"`` (as its ``Monitor`` gives them, without the time).

    Args:
        task, reward, arguments: as for `SequencePredictionVectorEnv`.
        num_envs: episodes side by side.

    Attributes:
        envs: our vector.
        ended: how many episodes are over, that is, how many outputs were scored.

    Raises:
        ConfigError: an argument is wrong, or two of them do not go together.
        DataError: the task cannot be loaded, or does not fit.
    """

    def __init__(self, task: TaskLike, reward: RewardLike, *, num_envs: int = 1, **arguments: Any) -> None:
        if "autoreset_mode" in arguments:
            raise ConfigError(
                "AgentsVecEnv has no argument 'autoreset_mode': stable-baselines3 needs the next episode at the same "
                "step; leave it out"
            )
        mode = AutoresetMode.SAME_STEP
        self.envs = SequencePredictionVectorEnv(task, reward, num_envs=num_envs, autoreset_mode=mode, **arguments)
        self.actions, self.ended = np.zeros(num_envs, np.int64), 0
        self.returns, self.lengths = np.zeros(num_envs), np.zeros(num_envs, np.int64)
        super().__init__(num_envs, self.envs.single_observation_space, self.envs.single_action_space)

    def reset(self) -> Any:
        """Begin an episode everywhere, with the seeds and options given before by ``seed`` and ``set_options``.

        Raises:
            ConfigError: an option is wrong.
        """
        observations, _ = self.envs.reset(seed=self._seeds, options=self._merged())
        self._reset_seeds()
        self._reset_options()
        self.returns[:], self.lengths[:] = 0.0, 0
        return observations

    def _merged(self) -> dict[str, Any]:
        """The options of all episodes, one dict each, as the one dict that our vector takes."""
        given = self._options
        if not any(given):
            return {}
        if any(set(options) != {"example"} for options in given):
            raise ConfigError(f"AgentsVecEnv takes one option in each episode, 'example', but got {given!r}")
        return {"example": np.array([options["example"] for options in given])}

    def step_async(self, actions: Int[np.ndarray, " n"]) -> None:
        """Keep the actions for `step_wait`."""
        self.actions = actions

    def step_wait(self) -> Returned:
        """Take the kept actions.

        Raises:
            InvalidAction: there is no such action.
        """
        observations, rewards, terminated, truncated, found = self.envs.step(self.actions)
        over = terminated | truncated
        self.returns += rewards
        self.lengths += 1
        self.ended += int(over.sum())
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for i in over.nonzero()[0].tolist():
            infos[i] = {
                "terminal_observation": found["final_obs"][i],
                "TimeLimit.truncated": bool(truncated[i]),
                "episode": {"r": float(self.returns[i]), "l": int(self.lengths[i])},
                "example": int(found["final_info"]["example"][i]),
            }
        self.returns[over], self.lengths[over] = 0.0, 0
        return observations, rewards.astype(np.float32), over, infos

    def close(self) -> None:
        """There is nothing to close."""
        self.envs.close()

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """An attribute of our vector, once for each episode asked for.

        Raises:
            AttributeError: it has none of this name.
        """
        return [getattr(self.envs, attr_name)] * len(self._rows(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Episodes have no attributes of their own.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            f"AgentsVecEnv steps all episodes together, so none has an attribute {attr_name!r} of its own; make the "
            "environment with other arguments"
        )

    def env_method(self, method_name: str, *arguments: Any, indices: Indices = None, **fields: Any) -> list[Any]:
        """What a method of our vector returns for each episode asked for; ``"action_masks"`` is what agents ask for."""
        found = getattr(self.envs, method_name)(*arguments, **fields)
        return [found[i] for i in self._rows(indices)]

    def env_is_wrapped(self, wrapper_class: Any, indices: Indices = None) -> list[bool]:
        """No episode is wrapped by itself."""
        return [False] * len(self._rows(indices))

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Episodes are text."""
        return [None] * self.num_envs

    def _rows(self, indices: Indices) -> list[int]:
        return list(self._get_indices(indices))


class SourceReader(BaseFeaturesExtractor):
    """The encoder of our taggers as a features extractor, for ``policy_kwargs={"features_extractor_class": ...}``.

    By default stable-baselines3 would take ids for quantities. This reads the source by a bidirectional LSTM and shows
    the agent the state at the position that it writes next (that of an end mark, after the last symbol), a vector of
    the label that it wrote last, and which parts of the source are read and of the limit used.

    Args:
        observation_space: that of our environments.
        embedding: size of the vectors of input symbols and of labels.
        hidden: size of the two directions together; even.

    Raises:
        ConfigError: these are other observations, or ``hidden`` is odd.
    """

    def __init__(  # the space is a Dict, whose bases beartype cannot check
        self, observation_space: spaces.Space[dict[str, Any]], embedding: int = 48, hidden: int = 128
    ) -> None:
        if not isinstance(observation_space, spaces.Dict) or not {"source", "prefix"} <= set(observation_space.spaces):
            raise ConfigError(
                "SourceReader reads observations of SequencePrediction as they are, but got the space "
                f"{observation_space!r}; leave wrappers that change observations out"
            )
        if hidden % 2:
            raise ConfigError(f"SourceReader.hidden must be even (each direction gets half of it), but got {hidden}")
        super().__init__(observation_space, hidden + embedding + 2)
        source, prefix = observation_space["source"], observation_space["prefix"]
        assert isinstance(source, spaces.Box)
        assert isinstance(prefix, spaces.Box)
        symbols, labels, self.limit = int(source.high.max()) - 1, int(prefix.high.max()), prefix.shape[0]
        reader = SymbolTable(symbols, embedding)
        self.encoder = RecurrentEncoder(reader, hidden=hidden // 2, layers=1, dropout=0.0, end_mark=True)
        self.written = nn.Embedding(labels + 1, embedding)
        nn.init.normal_(self.written.weight, std=embedding**-0.5)

    def forward(self, observations: dict[str, Tensor]) -> Float[Tensor, "n features"]:
        """Features of each observation, whose ids stable-baselines3 hands over as floats."""
        seen = {name: values.long() for name, values in observations.items()}
        length, position = seen["source_length"].squeeze(1), seen["prefix_length"].squeeze(1)
        sources = torch.where(seen["source_mask"].bool(), seen["source"], 0)
        encoded = self.encoder(Sequences(sources, length)).memory
        rows = torch.arange(len(length), device=length.device)
        last = seen["prefix"].gather(1, (position - 1).clamp(min=0).unsqueeze(1)).squeeze(1)
        parts = torch.stack([position / length.clamp(min=1), position / self.limit], 1).to(encoded.dtype)
        return torch.cat([encoded[rows, torch.minimum(position, length)], self.written(last), parts], 1)
