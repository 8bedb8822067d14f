"""Separate random streams, so that one use of randomness cannot shift another."""

import hashlib

import torch


def stream(seed: int, *names: object) -> int:
    """A 63-bit seed derived from ``seed`` and the names of its use.

    >>> stream(0, "order", 1) == stream(0, "draws", 1)
    False
    """
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: object) -> torch.Generator:
    """A generator with a seed of its own; see `stream`."""
    return torch.Generator().manual_seed(stream(seed, *names))
