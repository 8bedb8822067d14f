"""Actor-critic: a network that predicts the reward still to come from what was drawn so far, as a baseline."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from structpred.errors import ConfigError
from structpred.models.base import SymbolTable
from structpred.models.encoder import RecurrentEncoder
from structpred.objectives.baselines import Baseline, Group, Returns
from structpred.registry import baselines
from structpred.running import Running
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.values import Count, Positive

FADING = 0.99
"""The factor by which earlier returns fade at each step in the critic's unit."""

LEAST_DEVIATION = 1e-4
"""In units of reward: returns that differ by less are taken to be equal."""


class ValueNetwork(Running):
    """V(y*, y_<t): the return predicted before step t, from the reference and the symbols drawn so far.

    An LSTM reads y_<t, and its state attends to a bidirectional LSTM's states over y*. The last layer starts at zero
    and predicts in units of the deviation of earlier returns around their mean, so that the network needs to learn
    neither how large rewards are nor where they lie: it begins as `RunningMean`.

    Args:
        labels: number of labels.
        embedding: size of a symbol's vector.
        hidden: size of the LSTMs' states.
    """

    moments: Tensor

    def __init__(self, labels: int, embedding: int, hidden: int) -> None:
        super().__init__(3)
        self.start = labels
        reader = SymbolTable(labels, embedding)
        self.reference = RecurrentEncoder(reader, hidden=hidden, layers=1, dropout=0.0, end_mark=True)
        self.symbols = nn.Embedding(labels + 1, embedding)
        self.prefix = nn.LSTM(embedding, hidden, batch_first=True)
        self.query = nn.Linear(hidden, 2 * hidden)
        self.mixing = nn.Linear(3 * hidden, hidden)
        self.last = nn.Linear(hidden, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.register_buffer("moments", torch.zeros(3, dtype=torch.float64))  # of the powers 0, 1 and 2 of returns

    def forward(self, outputs: Sequences, references: Sequences, steps: int) -> Returns:
        """V before each of the first ``steps`` steps, in units of reward.

        Args:
            outputs: ``[batch, candidates, time]``; what follows a step does not enter its value.
            references: ``[batch, time]``.
            steps: at most time + 1.
        """
        batch, candidates = outputs.lengths.shape
        known = self.reference(references)
        before = functional.pad(outputs.labels, (1, 0), value=self.start)[..., :steps].flatten(0, 1)
        states = self.prefix(self.symbols(before))[0]
        queries = self.query(states).view(batch, candidates * steps, -1)
        found = functional.scaled_dot_product_attention(
            queries, known.memory, known.memory, attn_mask=known.mask.unsqueeze(1)
        )
        joined = torch.cat([states, found.view(batch * candidates, steps, -1)], -1)
        raw: Tensor = self.last(self.mixing(joined).tanh())
        mean, deviation = self.unit()
        return mean + deviation * raw.view(batch, candidates, steps)

    def unit(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of earlier returns, 0-dim; 0 and 1 before the first."""
        weight, first, second = self.moments.unbind()
        some = weight > 0
        mean = first / torch.where(some, weight, 1.0)
        spread = (second / torch.where(some, weight, 1.0) - mean.square()).clamp(min=LEAST_DEVIATION**2).sqrt()
        dtype = self.last.weight.dtype
        return mean.to(dtype), torch.where(some, spread, 1.0).to(dtype)

    @torch.no_grad()
    def take_in(self, group: Group) -> None:
        """Bring the unit up to date; does nothing in evaluation mode. Sums over the mask spare waiting for a device."""
        seen = torch.where(group.mask, group.returns.double(), 0.0)
        self.add(torch.stack([group.mask.sum().double(), seen.sum(), seen.square().sum()]))

    def fade_in(self, sums: Float[Tensor, " numbers"]) -> None:
        """Take in the powers 0, 1 and 2 of returns, as means over all of them; without any, nothing changes."""
        self.moments.mul_(torch.where(sums[0] > 0, FADING, 1.0)).add_(sums / sums[0].clamp(min=1), alpha=1 - FADING)


@baselines.register("critic")
@dataclass(frozen=True, kw_only=True)
class Critic(Baseline):
    """V(y*, y_<t), predicted by a separate network, which is trained beside the model by regression on the returns.

    Bahdanau et al. 2017, arXiv 1607.07086: the critic reads the reference and the symbols drawn so far, so it serves
    any model. It depends on no symbol from t on, so the gradient stays unbiased whatever it predicts. Departures: the
    paper's critic predicts Q of every next symbol, whose sum over symbols replaces the sampled return and is as biased
    as the critic is wrong; it is trained by temporal differences with a delayed copy, ours by the returns themselves.

    With REINFORCE's ``credit="token"`` there is a value for each symbol; with ``"sequence"`` one for each reference.
    The loss is coefficient · ½ Σ_t ((V_t − R_t)/s)², the mean over samples, with s the deviation of earlier returns.
    Its gradient reaches the critic alone and is clipped by itself; optimiser and learning rate are those of the model.

    Attributes:
        embedding: size of a symbol's vector.
        hidden: size of the states of its LSTMs.
        coefficient: weight of its loss. Adam's steps hardly depend on it.
    """

    embedding: Count = 64
    hidden: Count = 64
    coefficient: Positive = 1.0

    def state(self, sizes: Sizes) -> nn.Module:
        """The network."""
        return ValueNetwork(sizes.num_labels, self.embedding, self.hidden)

    def values(self, group: Group, state: nn.Module | None) -> Returns:
        """V at each step, with gradient to the critic; 0 at steps that a sample does not have."""
        found = self._network(state)(group.outputs, group.targets, group.returns.shape[-1])
        return torch.where(group.mask, found, 0.0).to(group.returns.dtype)

    def loss(self, group: Group, values: Returns, state: nn.Module | None) -> Float[Tensor, " batch"]:
        """The regression of the returns, where a sample has the step."""
        _, deviation = self._network(state).unit()
        apart = torch.where(group.mask, (values - group.returns) / deviation, 0.0)
        return self.coefficient * apart.square().sum(-1).mean(1) / 2

    def learn(self, group: Group, state: nn.Module | None) -> None:
        """Update the unit; the weights are the optimiser's to train."""
        self._network(state).take_in(group)

    def diagnostics(self, group: Group, values: Returns) -> dict[str, Float[Tensor, " batch"]]:
        """``critic_error``: the mean of |V_t − R_t| over all steps of the samples, in units of reward."""
        apart = torch.where(group.mask, (values - group.returns).abs(), 0.0)
        return {"critic_error": apart.sum((1, 2)) / group.mask.sum((1, 2)).clamp(min=1)}

    def _network(self, state: nn.Module | None) -> ValueNetwork:
        if not isinstance(state, ValueNetwork):
            raise ConfigError(f"{type(self).__name__} needs its network: pass state=objective.state(sizes)")
        return state
