"""Seeds derived from what they are for, so that equal questions get equal randomness and nothing else does.

DESIGN 2.2: order = f(seed, dataset content, replicate); labels = f(order key, label spec); inputs = f(order key, input
spec); init and batches = f(seed, n, replicate, attempt), never from the procedure's name.
"""

from __future__ import annotations

import hashlib
import json


def derive(purpose: str, *parts: int | str) -> int:
    """A 63-bit seed for one purpose.

    Args:
        purpose: what the randomness is for; two purposes never share a stream.
        parts: whatever the stream depends on.

    >>> derive("order", 0, "abc", 1) == derive("order", 0, "abc", 1)
    True
    >>> derive("order", 0, "abc", 1) == derive("order", 0, "abc", 2)
    False
    """
    text = json.dumps([purpose, *parts], separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def order_key(seed: int, content_hash: str, replicate: int) -> int:
    """The seed of a replicate's sample order, from which its labels and inputs derive too."""
    return derive("order", seed, content_hash, replicate)


def init_seed(seed: int, n: int, replicate: int, attempt: int) -> int:
    """The seed of one probe's fresh initialisation."""
    return derive("init", seed, n, replicate, attempt)


def dropout_seed(seed: int, n: int, replicate: int, attempt: int) -> int:
    """The seed of whatever one probe's model draws while it is trained, such as dropout."""
    return derive("dropout", seed, n, replicate, attempt)


def batch_seed(seed: int, n: int, replicate: int, attempt: int) -> int:
    """The seed of one probe's stream of mini-batches."""
    return derive("batches", seed, n, replicate, attempt)


def training_seed(seed: int, n: int, replicate: int, attempt: int) -> int:
    """The seed handed to a training of a user's own; of 31 bits, which every library takes."""
    return derive("training", seed, n, replicate, attempt) >> 32
