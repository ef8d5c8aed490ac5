"""What containers and images have in common: pictures as they are to be shown, at an even pace."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np


class Picture(Protocol):
    """One picture, which is not looked at before it is wanted."""

    size: tuple[int, int]  # width and height as shown, in square pixels

    def resized(self, height: int, width: int, aspect: float | None) -> np.ndarray:
        """The picture as u8[height width 3], RGB, each pixel the mean of the area that it covers.

        Args:
            height: rows, in pixels.
            width: columns, in pixels.
            aspect: width over height of the part that is taken, the largest in the centre; None takes the whole.

        Raises:
            ValueError: it cannot be read; one line says why.
        """


class Source(NamedTuple):
    """What a file or folder shows, in the order of time, one picture every so often."""

    pictures: Iterator[Picture]
    notes: tuple[str, ...] = ()  # what was not as simple as that


def shown_size(width: int, height: int, pixel_aspect: float) -> tuple[int, int]:
    """Width and height in square pixels: pixels that are none are shown wider or higher, never narrower."""
    return round(width * max(pixel_aspect, 1)), round(height / min(pixel_aspect, 1))


def centre(size: tuple[int, int], aspect: float | None) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the largest centred part with a ratio of width to height; None takes the whole."""
    width, height = size
    if aspect is not None:
        width, height = min(size[0], size[1] * aspect), min(size[1], size[0] / aspect)
    left, top = (size[0] - width) / 2, (size[1] - height) / 2
    return left, top, left + width, top + height
