"""Inputs that are numbers: frames such as the spectrum of speech, and small pictures, one for every input symbol."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from structpred.config import Count
from structpred.errors import DataError
from structpred.frames import FlatFrames, Frames
from structpred.models.inputs import Featurizer
from structpred.recordings import Recording
from structpred.registry import inputs
from structpred.task import Sizes
from structpred.vocabulary import Symbols, Vocabularies


@inputs.register("frames")
@dataclass(frozen=True, kw_only=True)
class FrameFeatures(Featurizer):
    """The numbers of a `Recording`, some frames side by side at every position: position i sees frames i·stride on.

    Fewer positions make a recurrent encoder faster and attention easier. Where the last frames do not fill a position,
    zeros do.

    Attributes:
        features: numbers in a frame; 120 for 40 filters and their first and second derivatives.
        stack: frames side by side.
        stride: frames from one position to the next; None takes ``stack``, so that none is seen twice.
    """

    symbolic: ClassVar[bool] = False
    recorded: ClassVar[bool] = True
    open_vocabulary: ClassVar[bool] = True

    features: Count = 120
    stack: Count = 1
    stride: Count | None = None

    def read(self, sources: Sequence[Recording], vocabularies: Vocabularies) -> FlatFrames:
        """The stacked frames of every recording.

        Raises:
            DataError: a recording has frames of another size.
        """
        del vocabularies
        stacked = [self._stacked(source) for source in sources]
        values = np.concatenate(stacked) if stacked else np.zeros((0, self.stack * self.features), np.float32)
        ends = np.cumsum([len(each) for each in stacked])
        rows = [range(end - len(each), end) for each, end in zip(stacked, ends.tolist(), strict=True)]
        return FlatFrames.of(rows, torch.from_numpy(values))

    def build(self, sizes: Sizes, features: int) -> nn.Module:
        """What passes the numbers on."""
        del sizes, features
        return FrameReader(self.stack * self.features)

    def _stacked(self, source: Recording) -> Float[np.ndarray, "positions stacked"]:
        if source.frames.shape[1] != self.features:
            raise DataError(
                f"{source.name} must have {self.features} numbers in a frame, but it has {source.frames.shape[1]}; set "
                "FrameFeatures.features of the model's inputs"
            )
        stride = self.stride or self.stack
        positions = -(-len(source) // stride)
        stacked = np.zeros((positions, self.stack, self.features), np.float32)
        for place in range(self.stack):
            frames = source.frames[place::stride]
            stacked[: len(frames), place] = frames
        return stacked.reshape(positions, self.stack * self.features)


class FrameReader(nn.Module):
    """The network of `FrameFeatures`: none."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, frames: Frames) -> Float[Tensor, "batch time size"]:
        """The numbers at every position."""
        return frames.values


@inputs.register("bits")
@dataclass(frozen=True, kw_only=True)
class BitImages(Featurizer):
    """Pictures in black and white: a symbol is a text of 0 and 1, one for each pixel, and the model sees their values.

    Attributes:
        pixels: pixels of a picture, 128 for the 16 rows of 8 of OCR letters.
        hidden: size of a layer of rectified linear units over the pixels; None shows the model the pixels themselves.
    """

    symbolic: ClassVar[bool] = False
    open_vocabulary: ClassVar[bool] = True

    pixels: Count = 128
    hidden: Count | None = None

    def read(self, sources: Sequence[Symbols], vocabularies: Vocabularies) -> FlatFrames:
        """The pixels of every symbol.

        Raises:
            DataError: a symbol is no picture of ``pixels`` pixels.
        """
        del vocabularies
        kinds = {symbol: i for i, symbol in enumerate(dict.fromkeys(each for source in sources for each in source))}
        for symbol in kinds:
            if len(symbol) != self.pixels or symbol.strip("01"):
                raise DataError(
                    f"an input symbol must be a picture of {self.pixels} pixels, each 0 or 1, but one is "
                    f"{symbol[:40]!r} of {len(symbol)} characters; set BitImages.pixels, or take another input encoder"
                )
        bits = torch.frombuffer(bytearray("".join(kinds).encode()), dtype=torch.uint8) if kinds else torch.empty(0)
        values = (bits.view(-1, self.pixels) - ord("0")).float()
        return FlatFrames.of([[kinds[symbol] for symbol in source] for source in sources], values)

    def build(self, sizes: Sizes, features: int) -> nn.Module:
        """The layer, if there is one."""
        del sizes, features
        return PixelReader(self.pixels, self.hidden)


class PixelReader(nn.Module):
    """The network of `BitImages`."""

    def __init__(self, pixels: int, hidden: int | None) -> None:
        super().__init__()
        self.size = pixels if hidden is None else hidden
        self.layer = nn.Identity() if hidden is None else nn.Sequential(nn.Linear(pixels, hidden), nn.ReLU())

    def forward(self, frames: Frames) -> Float[Tensor, "batch time size"]:
        """What the model sees at every position."""
        seen: Tensor = self.layer(frames.values)
        return seen
