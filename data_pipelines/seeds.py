"""Which seeds there are: one range for training, questions, readers and simulators alike."""

import argparse
import numbers
from typing import Any

# JAX takes the lowest 32 bits of a seed, so that a larger one would give the run of a smaller one.
LARGEST_SEED = 2**32 - 1


def check_seed(option: str, seed: Any, largest: int = LARGEST_SEED) -> None:
    """Raises ValueError, naming the option, unless a seed is an integer from 0 to 4294967295 (or another largest)."""
    is_integer = isinstance(seed, numbers.Integral) and not isinstance(seed, bool)
    if not is_integer or not 0 <= seed <= largest:
        # Python writes no more than some thousand digits.
        shown = "too large" if is_integer and abs(seed) > 2**128 else repr(seed)
        raise ValueError(f"{option} is {shown}: a seed must be an integer from 0 to {largest}")


def parse_seed(text: str) -> int:
    """A seed as a command line gives it, for argparse."""
    try:
        seed = int(text)
    except ValueError:
        seed = text
    try:
        check_seed("it", seed)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return seed
