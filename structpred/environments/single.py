"""One episode at a time: a `gymnasium.Env`."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import InvalidAction, ResetNeeded, UnsupportedMode
from jaxtyping import Bool, Int

from structpred.environments.episodes import Episodes, Observation, drawn
from structpred.environments.rules import Flag, RewardLike, Rules, TaskLike
from structpred.errors import ConfigError
from structpred.registry import nearest
from structpred.task import Example
from structpred.vocabulary import Vocabularies

RENDER_MODES = ("ansi",)


class SequencePrediction(gymnasium.Env[Observation, np.int64]):
    """An episode writes one output for one example, symbol by symbol, and is paid the reward of what it wrote.

    The example is drawn from the split with the environment's own generator. An action is the next label, or last of
    all the end. Where every source has as many symbols as its references have labels (tagging) there is no end: the
    episode terminates after as many labels as the source has symbols.

    An observation is a flat ``Dict`` of whole numbers: ``source`` and ``prefix`` (ids, padded by one beyond the last
    id), ``source_length`` and ``prefix_length`` (one number each), ``source_mask`` and ``prefix_mask`` (1 at real
    symbols). ``info`` holds ``action_mask`` (see `action_masks`) and ``example``, the index in the split.

    Args:
        task: the data: a task, its registered name, or a mapping with its name as ``type`` and its fields.
        reward: R, likewise, or a function that can be imported; in its own unit.
        split: ``"train"``, ``"dev"`` or ``"test"``. Symbols unknown from training share one id.
        paid: ``"end"`` pays R(y) at the last step; ``"increments"`` pays R(y_≤t) − R(y_<t) at each step, and for the
            empty prefix at the first, so that both sum to R(y). An output that was cut is scored as it stands.
        limit: labels after which an episode is truncated, where length is free; twice the longest reference of all
            splits and one by default.
        fixed_length: True for tagging, False to let the agent end; None decides by the data of all splits.
        render_mode: ``"ansi"``, or None.
        fields: fields of the task where ``task`` is a name, such as ``size=1000``.

    Raises:
        ConfigError: an argument is wrong, or two of them do not go together.
        DataError: the task cannot be loaded, or does not fit.
    """

    metadata: dict[str, Any] = {"render_modes": list(RENDER_MODES), "render_fps": 4}  # noqa: RUF012 - as Gymnasium has it

    def __init__(
        self,
        task: TaskLike,
        reward: RewardLike,
        *,
        split: str = "train",
        paid: str = "end",
        limit: int | None = None,
        fixed_length: Flag = None,
        render_mode: str | None = None,
        **fields: Any,
    ) -> None:
        check_render_mode(render_mode)
        self.rules = Rules.of(task, reward, fields, split=split, paid=paid, limit=limit, fixed_length=fixed_length)
        self.episodes = Episodes(self.rules, 1)
        self.action_space, self.observation_space = self.rules.action_space(), self.rules.observation_space()
        self.render_mode = render_mode

    @property
    def examples(self) -> tuple[Example, ...]:
        """The examples of the split, with their sources and references."""
        return self.rules.split.examples

    @property
    def vocabularies(self) -> Vocabularies:
        """The symbols that the ids stand for."""
        return self.rules.encoded.vocabularies

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Any]:
        """Begin an episode.

        Args:
            seed: of the generator that draws examples, from now on.
            options: ``{"example": i}`` takes the example with this index instead of drawing one.

        Raises:
            ConfigError: an option is wrong.
        """
        super().reset(seed=seed)
        check_names(options or {}, ["example"])
        chosen = chosen_examples(options or {}, 1, len(self.examples))
        if chosen is None:
            chosen = np.array([drawn(self.np_random, len(self.examples))])
        self.episodes.begin(np.zeros(1, np.int64), chosen)
        return self._seen()

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Add a label, or end.

        Raises:
            ResetNeeded: no episode has begun, or it is over.
            InvalidAction: there is no such action.
        """
        if self.episodes.over[0]:
            raise ResetNeeded("there is no running episode to step: call reset() first, and again after each episode")
        if isinstance(action, bool) or not self.action_space.contains(action):
            raise InvalidAction(invalid(action, self.rules))
        rewards, terminated, truncated = self.episodes.step(np.array([action], np.int64), np.ones(1, bool))
        observation, info = self._seen()
        return observation, float(rewards[0]), bool(terminated[0]), bool(truncated[0]), info

    def action_masks(self) -> Bool[np.ndarray, " actions"]:
        """True at the actions after which the output can still be complete.

        That is every action, but where length is free only the end at the last step within the limit. A label is
        accepted there too, and truncates the episode.
        """
        mask: Bool[np.ndarray, " actions"] = self.episodes.masks()[0].astype(bool)
        return mask

    def render(self) -> Any:
        """Source, output so far, references and reward as text.

        Raises:
            ResetNeeded: no episode has begun.
        """
        if self.render_mode is None:
            warn_of_no_mode()
            return None
        if not self.episodes.begun[0]:
            raise ResetNeeded("there is no episode to render: call reset() first")
        return self.episodes.text()[0]

    def _seen(self) -> tuple[Observation, dict[str, Any]]:
        observation = {name: values[0] for name, values in self.episodes.observations().items()}
        return observation, {"action_mask": self.episodes.masks()[0], "example": int(self.episodes.example[0])}


def check_render_mode(render_mode: str | None) -> None:
    """Refuse an unknown render mode.

    Raises:
        UnsupportedMode: it is neither ``"ansi"`` nor None.
    """
    if render_mode not in (None, *RENDER_MODES):
        raise UnsupportedMode(f"render_mode must be 'ansi' or None, but got {render_mode!r}")


def warn_of_no_mode() -> None:
    """Gymnasium's environments warn of this and render nothing."""
    gymnasium.logger.warn("render() shows nothing without a render mode: make the environment with render_mode='ansi'")


def invalid(action: object, rules: Rules) -> str:
    """The message about an action that does not exist."""
    end = "" if rules.fixed_length else f", of which {rules.labels} ends the output"
    return f"an action must be a whole number from 0 to {rules.actions - 1}{end}, but got {action!r}"


def check_names(options: Mapping[str, Any], known: list[str]) -> None:
    """Refuse an option that would do nothing.

    Raises:
        ConfigError: there is no option of this name, or they have no names.
    """
    if not isinstance(options, Mapping):
        raise ConfigError(f"reset's options must be a dict of values by name, but got {options!r}")
    for name in options:
        if name not in known:
            raise ConfigError(f"reset has no option {name!r}; {nearest(str(name), known)}")


def chosen_examples(options: Mapping[str, Any], n: int, examples: int) -> Int[np.ndarray, " n"] | None:
    """The examples that ``options["example"]`` names, one index for all episodes or one for each; None for none.

    Raises:
        ConfigError: they are no indices of the split.
    """
    chosen = options.get("example")
    if chosen is None:
        return None
    indices = np.asarray(chosen)
    whole = np.issubdtype(indices.dtype, np.integer) and indices.shape in ((), (n,))
    if not whole or (indices < 0).any() or (indices >= examples).any():
        expected = "a whole number" if n == 1 else f"a whole number, or {n} of them,"
        raise ConfigError(
            f"reset's options['example'] must be {expected} from 0 to {examples - 1}, the examples of the split, but "
            f"got {chosen!r}"
        )
    return np.broadcast_to(indices.astype(np.int64), (n,))


def reset_mask(options: Mapping[str, Any], n: int) -> Bool[np.ndarray, " n"]:
    """Which episodes ``options["reset_mask"]`` means: all where it is not given.

    Raises:
        ConfigError: it is not an array of n truth values with a True among them.
    """
    mask = options.get("reset_mask")
    if mask is None:
        return np.ones(n, bool)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (n,) or not mask.any():
        raise ConfigError(
            f"reset's options['reset_mask'] must be a NumPy array of {n} truth values with at least one True, but got "
            f"{mask!r}"
        )
    return mask
