"""Small pictures as inputs: every input symbol spells the pixels of one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from structpred.config import Count
from structpred.errors import DataError
from structpred.frames import FlatFrames, Frames
from structpred.models.inputs import InputEncoder
from structpred.registry import inputs
from structpred.task import Sizes
from structpred.vocabulary import Symbols, Vocabularies


@inputs.register("bits")
@dataclass(frozen=True, kw_only=True)
class BitImages(InputEncoder):
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
