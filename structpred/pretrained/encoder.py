"""A pretrained network as an input encoder: frozen, with features computed once, or tuned with everything else."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from structpred.errors import ConfigError, DataError
from structpred.models.base import Featurizer
from structpred.pretrained.features import Extraction, features
from structpred.pretrained.folder import ModelFolder
from structpred.pretrained.library import of_encoder
from structpred.pretrained.pieces import NoPiece, PieceEncoder, Pooling, word_tokenizer_of
from structpred.registry import inputs
from structpred.sequences import FlatSequences, Sequences
from structpred.task import Sizes
from structpred.values import Interval
from structpred.vocabulary import Symbols, Vocabularies

CUT_ANEW = ("PreTrainedTokenizerFast", "Qwen2Tokenizer", "Qwen2TokenizerFast", "TokenizersBackend")
"""Tokenizers whose words were cut without the space before them: runs from that time are not found again."""

Mix = Literal["mean", "learned"]
"""How several layers become one: their mean, or a learned mixture."""


@inputs.register("pretrained")
@dataclass(frozen=True, kw_only=True)
class PretrainedEncoder(Featurizer):
    """Words as a pretrained network of transformers sees them in their sentence; needs the extra ``pretrained``.

    Every word is cut into pieces by the network's own tokenizer, and the states of its pieces are pooled. A frozen
    network is no part of the model: its features are data, computed once, kept in half precision on disk by the digest
    of weights, settings and words (`structpred.pretrained.features`), and shared by all runs. A tuned one is part of
    the model, under the name ``pretrained``. A run's identity holds the digest of the files, not their place.

    Attributes:
        path_or_name: a folder, a folder of an installed package (``package:NAME/FOLDER``), or a name on the hub.
        revision: branch, tag or commit on the hub.
        layers: the layers whose states are used, 0 for the embeddings and -1 for the last; empty takes all.
        mix: how several layers become one. ``"learned"`` is γ Σ_l softmax(w)_l h_l with learned w and γ (Peters et al.
            2018, arXiv 1802.05365, equation 1), starting at the mean.
        pooling: which pieces of a word stand for it.
        window: the most pieces read at once, marks included; longer sentences are read in windows that overlap by half.
            None takes as many as the network can.
        no_piece: what happens to a word that gives no piece, such as one of control characters: ``"refuse"`` ends with
            an error, ``"unknown"`` reads it as the tokenizer's unknown token.
        tune: train the network with everything else.
        pickles: read ``pytorch_model.bin`` where there are no safetensors.

    Raises:
        ConfigError: a layer is named twice.
    """

    open_vocabulary: ClassVar[bool] = True
    outside: ClassVar[tuple[str, ...]] = ("path_or_name", "revision", "pickles")

    path_or_name: str
    revision: str | None = None
    layers: tuple[int, ...] = (-1,)
    mix: Mix = "mean"
    pooling: Pooling = "first"
    window: Annotated[int, Interval(least=2)] | None = None
    no_piece: NoPiece = "refuse"
    tune: bool = False
    pickles: bool = False

    def check(self) -> None:
        """Refuse a layer named twice."""
        if len(set(self.layers)) != len(self.layers):
            raise ConfigError(f"PretrainedEncoder.layers must name each layer once, but got {self.layers}")

    def fingerprint(self) -> tuple[str, ...]:
        """The digest of the files that are read; and that words are cut as in texts, where they once were not.

        Raises:
            DataError: the folder is absent, or cannot be used.
        """
        folder = self.folder()
        anew = folder.json("tokenizer_config.json").get("tokenizer_class") in CUT_ANEW
        return (folder.digest, *(("words as in texts",) if anew else ()))

    def folder(self) -> ModelFolder:
        """The folder of the network.

        Raises:
            DataError: it is absent, or cannot be used.
        """
        return ModelFolder.of(self.path_or_name, self.revision, pickles=self.pickles)

    def read(self, sources: Sequence[Symbols], vocabularies: Vocabularies) -> FlatSequences:
        """Pieces of words for a tuned network, features of words for a frozen one.

        Raises:
            DataError: a word gives no piece, or the folder cannot be used.
        """
        del vocabularies
        folder = self.folder()
        if self.tune:
            pieces = word_tokenizer_of(folder, folder.digest).read(sources, self.no_piece)
            return replace(pieces, origin=_origin(folder.digest))
        sentences = list(dict.fromkeys(sources))
        extraction = self._extraction(folder)
        table = features(folder, extraction, sentences)
        ends = torch.tensor([len(each) for each in sentences], dtype=torch.long).cumsum(0).tolist()
        place = {each: range(end - len(each), end) for each, end in zip(sentences, ends, strict=True)}
        flat = FlatSequences.of([place[source] for source in sources], table)
        return replace(flat, origin=_origin(extraction.key(folder, ())))

    def build(self, sizes: Sizes, features: int) -> nn.Module:
        """The network, or what mixes its features.

        Raises:
            DataError: the folder cannot be used.
            ConfigError: the network has no such layer, or a window is too large.
        """
        del sizes, features
        folder = self.folder()
        layers = self._layers(folder)
        mixture = Mixture(len(layers)) if self.mix == "learned" and len(layers) > 1 else None
        if not self.tune:
            return FrozenFeatures(folder.number(*WIDTH), 1 if mixture is None else len(layers), mixture)
        kind, spare = of_encoder(folder.config)
        network = folder.network(kind, spare=spare)
        encoder = PieceEncoder(
            network, word_tokenizer_of(folder, folder.digest), layers=layers, pooling=self.pooling, window=self.window
        )
        encoder.freeze_unused()
        folder.mark(encoder.pretrained)
        return TunedEncoder(encoder, mixture).train()

    def _extraction(self, folder: ModelFolder) -> Extraction:
        layers = self._layers(folder)
        return Extraction(layers, self.mix == "mean" or len(layers) == 1, self.pooling, self.window, self.no_piece)

    def _layers(self, folder: ModelFolder) -> tuple[int, ...]:
        """The layers from 0 on."""
        count = folder.number(*DEPTH) + 1
        if count < 2:
            raise DataError(
                f"{self.path_or_name}/config.json must have at least one layer, but it has {count - 1}; take another "
                "model"
            )
        for layer in self.layers:
            if not -count <= layer < count:
                raise ConfigError(
                    f"PretrainedEncoder.layers must be from {-count} to {count - 1} for {self.path_or_name} (0 is the "
                    f"embeddings), but got {layer}"
                )
        found = tuple(layer % count for layer in self.layers) or tuple(range(count))
        if len(set(found)) != len(found):
            raise ConfigError(f"PretrainedEncoder.layers must name each layer once, but {self.layers} does not")
        return found


def _origin(digest: str) -> int:
    """A number that tells the inputs of one network from those of another."""
    return int(digest[:8], 16)


WIDTH = ("hidden_size", "d_model", "n_embd", "dim")
DEPTH = ("encoder_layers", "num_hidden_layers", "n_layer", "n_layers", "num_layers")
"""What configs call the size of a state, and the number of layers."""


class Mixture(nn.Module):
    """γ Σ_l softmax(w)_l h_l (Peters et al. 2018, equation 1); w starts at zero and γ at one, which is the mean.

    Args:
        layers: their number.
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.weights, self.scale = nn.Parameter(torch.zeros(layers)), nn.Parameter(torch.ones(()))

    def forward(self, states: Float[Tensor, "batch time layers size"]) -> Float[Tensor, "batch time size"]:
        """Mix the layers."""
        return self.scale * torch.einsum("l,btls->bts", self.weights.softmax(0), states)


class FrozenFeatures(nn.Module):
    """The network of a frozen `PretrainedEncoder`: features in the model's precision, mixed if there are several.

    Args:
        size: of a state.
        layers: states that stand side by side in the features.
        mixture: mixes them; None where there is one.
    """

    like: Tensor

    def __init__(self, size: int, layers: int, mixture: Mixture | None) -> None:
        super().__init__()
        self.size, self.layers, self.mixture = size, layers, mixture
        self.register_buffer("like", torch.zeros(()), persistent=False)  # follows the model's precision

    def forward(self, inputs: Sequences) -> Float[Tensor, "batch time size"]:
        """The features at every position."""
        assert inputs.vectors is not None
        vectors = inputs.vectors.to(self.like.dtype)
        batch, time = vectors.shape[:2]
        if not vectors.numel():  # no word, and so no network has said how large its states are
            return vectors.new_zeros(batch, time, self.size)
        if vectors.shape[2] != self.layers * self.size:
            raise DataError(
                f"features must have {self.layers} times {self.size} numbers, but {vectors.shape[2]} came; the network "
                "does not have the states that its config says"
            )
        states = vectors.view(batch, time, self.layers, self.size)
        return states.squeeze(2) if self.mixture is None else self.mixture(states)


class TunedEncoder(nn.Module):
    """The network of a tuned `PretrainedEncoder`.

    Args:
        encoder: gives the states of chosen layers.
        mixture: mixes them; None takes their mean.
    """

    def __init__(self, encoder: PieceEncoder, mixture: Mixture | None) -> None:
        super().__init__()
        self.encoder, self.mixture, self.size = encoder, mixture, encoder.size

    def forward(self, inputs: Sequences) -> Float[Tensor, "batch time size"]:
        """The states at every word."""
        states: Tensor = self.encoder(inputs)
        return states.mean(2) if self.mixture is None else self.mixture(states)
