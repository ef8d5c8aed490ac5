"""Reads strips, PNG files of square frames one below the other, and makes frames smaller."""

from pathlib import Path

import numpy as np

MAX_BLOCKS = 4


def read_pictures(path: Path) -> np.ndarray:
    """The frames of a strip of pictures: u8[t s s 3], RGB; s is the width of the strip, 224 in the real files.

    Raises:
        ValueError: the file is no PNG, is damaged, or its height is no multiple of its width.
    """
    return _read(path, lambda image: np.asarray(image.convert("RGB")))


def read_block_numbers(path: Path) -> np.ndarray:
    """The frames of a strip of masks: u8[t s s], 0 background, 1 the lowest block.

    The numbers may be stored as grey levels, as three equal channels, or as indices of a palette.

    Raises:
        ValueError: as `read_pictures`, or the file holds something else than block numbers.
    """
    frames = _read(path, _numbers)
    if frames.max() > MAX_BLOCKS:
        raise ValueError(f"{path}: holds the value {frames.max()}, but blocks are numbered 1 to {MAX_BLOCKS}")
    return frames


def resize_by_area(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """Makes frames u8[t s s 3] smaller or larger; each pixel becomes the mean of the area that it covers.

    Sums are of whole numbers below 2**53, hence exact: the same bytes on every machine.
    """
    if frames.shape[1:3] == (height, width):
        return frames
    rows, columns = _overlaps(frames.shape[1], height), _overlaps(frames.shape[2], width)
    resized = [np.einsum("yi,ijc,xj->yxc", rows, frame, columns, optimize=True) for frame in frames]
    area = frames.shape[1] * frames.shape[2]
    return ((np.stack(resized) + area // 2) // area).astype(np.uint8)


def _read(path: Path, to_array) -> np.ndarray:
    from PIL import Image  # only these functions need it

    try:
        with Image.open(path) as image:
            pixels = to_array(image)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (OSError, SyntaxError):  # Pillow's errors of damaged PNG files
        raise ValueError(f"{path}: cannot be decoded, damaged or cut off?") from None
    except (ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: {error}") from None
    rows, side = pixels.shape[:2]
    if rows % side:
        raise ValueError(f"{path}: its {rows} rows are no whole number of frames of {side} x {side} pixels")
    return pixels.reshape(rows // side, side, side, *pixels.shape[2:])


def _numbers(image) -> np.ndarray:
    if image.mode == "P":
        return np.asarray(image)
    channels = np.asarray(image.convert("RGB"))
    if (channels != channels[..., :1]).any():
        raise ValueError("is a coloured picture, not one of block numbers")
    return channels[..., 0]


def _overlaps(pixels: int, cells: int) -> np.ndarray:
    """How much of each pixel lies in each cell, f64[cells pixels] in units of 1 / cells pixel: whole numbers."""
    left_of_pixel, left_of_cell = np.arange(pixels) * cells, np.arange(cells)[:, None] * pixels
    right = np.minimum(left_of_pixel + cells, left_of_cell + pixels)
    return np.maximum(0, right - np.maximum(left_of_pixel, left_of_cell)).astype(np.float64)
