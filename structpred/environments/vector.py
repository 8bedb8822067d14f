"""Many episodes at a time: a `gymnasium.vector.VectorEnv`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float, Int

from structpred.environments.episodes import Episodes, Observation, drawn
from structpred.environments.rules import Flag, RewardLike, Rules, TaskLike
from structpred.environments.single import (
    SequencePrediction,
    check_names,
    check_render_mode,
    chosen_examples,
    invalid,
    reset_mask,
    warn_of_no_mode,
)
from structpred.errors import ConfigError
from structpred.task import Example
from structpred.values import Count, coerce
from structpred.vocabulary import Vocabularies

Stepped = tuple[Observation, Float[np.ndarray, " n"], Bool[np.ndarray, " n"], Bool[np.ndarray, " n"], dict[str, Any]]


class SequencePredictionVectorEnv(VectorEnv[Observation, Int[np.ndarray, " n"], np.ndarray]):
    """``num_envs`` episodes of `SequencePrediction`, stepped together by the same code.

    Each sub-environment draws its examples with a generator of its own, so that it has the episodes that a single
    environment has with its seed and its actions.

    Args:
        num_envs: sub-environments.
        task, reward, split, paid, limit, fixed_length, render_mode, fields: as for `SequencePrediction`.
        autoreset_mode: when an episode that is over is followed by the next: at the step after it, whose action is
            ignored (``NEXT_STEP``); at the same step, with the last observation in ``info["final_obs"]``
            (``SAME_STEP``); or when ``reset(options={"reset_mask": ...})`` says so (``DISABLED``).

    Raises:
        ConfigError: an argument is wrong, or two of them do not go together.
        DataError: the task cannot be loaded, or does not fit.
    """

    def __init__(
        self,
        task: TaskLike,
        reward: RewardLike,
        *,
        num_envs: int = 1,
        split: str = "train",
        paid: str = "end",
        limit: int | None = None,
        fixed_length: Flag = None,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        **fields: Any,
    ) -> None:
        coerce(num_envs, Count, "SequencePredictionVectorEnv.num_envs")
        check_render_mode(render_mode)
        self.autoreset_mode = _mode(autoreset_mode)
        self.rules = Rules.of(task, reward, fields, split=split, paid=paid, limit=limit, fixed_length=fixed_length)
        self.episodes = Episodes(self.rules, int(num_envs))
        self.num_envs, self.render_mode = int(num_envs), render_mode
        self.metadata = {**SequencePrediction.metadata, "autoreset_mode": self.autoreset_mode}
        self.single_action_space, self.single_observation_space = (
            self.rules.action_space(),
            self.rules.observation_space(),
        )
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.generators: list[np.random.Generator | None] = [None] * self.num_envs

    @property
    def examples(self) -> tuple[Example, ...]:
        """The examples of the split, with their sources and references."""
        return self.rules.split.examples

    @property
    def vocabularies(self) -> Vocabularies:
        """The symbols that ids stand for."""
        return self.rules.encoded.vocabularies

    def reset(
        self, *, seed: int | np.integer | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode in every sub-environment.

        Args:
            seed: sub-environment i gets seed + i, or its own from a sequence; None leaves generators as they are.
            options: ``"example"`` takes examples by index instead of drawing them, one for all or one each;
                ``"reset_mask"``, truth values ``[num_envs]``, leaves the sub-environments alone where it is False.

        Raises:
            ConfigError: an option or the number of seeds is wrong.
        """
        options = options or {}
        check_names(options, ["example", "reset_mask"])
        mask = reset_mask(options, self.num_envs)
        chosen = chosen_examples(options, self.num_envs, len(self.examples))
        rows = mask.nonzero()[0]
        seeds = self._seeds(seed)
        if not self.episodes.begun[~mask].all():
            raise ResetNeeded("the first reset() must begin an episode in every sub-environment: leave reset_mask out")
        for row in rows.tolist():
            if seeds[row] is not None or self.generators[row] is None:
                self.generators[row] = seeding.np_random(seeds[row])[0]
        self._begin(rows, None if chosen is None else chosen[rows])
        return self.episodes.observations(), self._info(mask)

    def step(self, actions: Any) -> Stepped:
        """One action in every sub-environment.

        Raises:
            ResetNeeded: no episode has begun, or one is over and resetting is left to the caller.
            InvalidAction: there is no such action.
        """
        waiting = self.episodes.over
        if waiting.any() and (self.autoreset_mode is not AutoresetMode.NEXT_STEP or not self.episodes.begun.all()):
            raise ResetNeeded(self._not_running(waiting))
        active = ~waiting
        rewards, terminated, truncated = self.episodes.step(self._checked(actions, active), active)
        infos: dict[str, Any] = {}
        over = self.episodes.over
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            if over.any():
                infos = self._finals(over.copy())
                self._begin(over.nonzero()[0])
        elif not active.all():
            self._begin((~active).nonzero()[0])
        infos |= self._info(np.ones(self.num_envs, bool))
        return self.episodes.observations(), rewards, terminated, truncated, infos

    def action_masks(self) -> Bool[np.ndarray, "n actions"]:
        """True at the actions after which outputs can still be complete; see `SequencePrediction.action_masks`."""
        return self.episodes.masks().astype(bool)

    def render(self) -> tuple[str, ...] | None:
        """The text of every sub-environment.

        Raises:
            ResetNeeded: no episode has begun.
        """
        if self.render_mode is None:
            warn_of_no_mode()
            return None
        if not self.episodes.begun.all():
            raise ResetNeeded("there are no episodes to render: call reset() first")
        return self.episodes.text()

    def _begin(self, rows: Int[np.ndarray, " rows"], chosen: Int[np.ndarray, " rows"] | None = None) -> None:
        if chosen is None:
            count = len(self.examples)
            chosen = np.array([drawn(self.generators[row], count) for row in rows.tolist()], np.int64)
        self.episodes.begin(rows, chosen)

    def _info(self, which: Bool[np.ndarray, " n"]) -> dict[str, Any]:
        """As Gymnasium collects the ``info`` of sub-environments: beside every entry the mask of those that have it."""
        masks, examples = self.episodes.masks(), self.episodes.example.copy()
        if not which.all():
            masks[~which], examples[~which] = 0, 0
        return {"action_mask": masks, "_action_mask": which.copy(), "example": examples, "_example": which.copy()}

    def _finals(self, over: Bool[np.ndarray, " n"]) -> dict[str, Any]:
        """The last observations and infos of episodes that are over."""
        seen, observations = self.episodes.observations(), np.full(self.num_envs, None, object)
        for row in over.nonzero()[0].tolist():
            observations[row] = {name: values[row] for name, values in seen.items()}
        return {
            "final_obs": observations,
            "_final_obs": over,
            "final_info": self._info(over),
            "_final_info": over.copy(),
        }

    def _seeds(self, seed: int | np.integer | Sequence[int | None] | None) -> Any:
        seeds = np.full(self.num_envs, None, object)
        if isinstance(seed, int | np.integer):
            seeds[:] = [int(seed) + i for i in range(self.num_envs)]
        elif seed is not None:
            if len(seed) != self.num_envs:
                raise ConfigError(f"reset needs one seed, or {self.num_envs} of them, but got {len(seed)}")
            seeds[:] = list(seed)
        return seeds

    def _checked(self, actions: Any, active: Bool[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Actions as an array; those of episodes that are not active may be anything."""
        given = np.asarray(actions)
        if given.shape != (self.num_envs,) or not np.issubdtype(given.dtype, np.integer):
            raise InvalidAction(
                f"actions must be {self.num_envs} whole numbers, one for each sub-environment, but got an array of "
                f"shape {given.shape} and type {given.dtype}"
            )
        wrong = active & ((given < 0) | (given >= self.rules.actions))
        if wrong.any():
            row = int(wrong.argmax())
            raise InvalidAction(f"sub-environment {row}: {invalid(int(given[row]), self.rules)}")
        return given.astype(np.int64, copy=False)

    def _not_running(self, waiting: Bool[np.ndarray, " n"]) -> str:
        if not self.episodes.begun.all():
            return "there are no running episodes to step: call reset() first"
        return (
            f"the episode of sub-environment {int(waiting.argmax())} is over, and autoreset_mode is DISABLED: call "
            "reset(options={'reset_mask': terminations | truncations}) before the next step"
        )


def _mode(mode: AutoresetMode | str) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        modes = ", ".join(repr(each.value) for each in AutoresetMode)
        raise ConfigError(
            f"SequencePredictionVectorEnv.autoreset_mode must be an AutoresetMode or one of {modes}, but got {mode!r}"
        ) from None
