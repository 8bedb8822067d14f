"""Separate random streams, so that one use of randomness cannot shift another."""

import hashlib

import torch


def stream(seed: int, *names: object) -> int:
    """A 63-bit seed derived from ``seed`` and the names of its use.

    Examples:
        >>> stream(0, "order", 1) == stream(0, "draws", 1)
        False
    """
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: object) -> torch.Generator:
    """A generator with a seed of its own; see `stream`."""
    return torch.Generator().manual_seed(stream(seed, *names))


def seed_pytorch(value: int, device: torch.device) -> None:
    """Seed PyTorch's own draws on a device, such as those of initial weights and of dropout.

    `torch.manual_seed` seeds all devices, and takes milliseconds: it writes its callers down for each unused one.

    Examples:
        >>> seed_pytorch(7, torch.device("cpu"))
        >>> drawn = torch.rand(3)
        >>> torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(7)))
        True
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(value)
    else:
        torch.manual_seed(value)
