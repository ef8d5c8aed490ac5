"""COCO compressed run-length encoding of masks, in NumPy.

Runs alternate background, foreground, ... down the columns, background first. Each length is written in
groups of 5 bits, low first: character = group + 48, bit 0x20 set when more groups follow, sign-extended by bit
0x10 of the last group. From the fourth run on, what is written is the difference to the run two before.

Source: the format of the COCO API (pycocotools), in which CLEVRER's object proposals are stored.
"""

import numpy as np

MAX_PIXELS = 2**31 - 1  # COCO's own code counts in 32 bits
MAX_GROUPS = 7  # of a length: 35 bits


def size(rle: dict) -> tuple[int, int]:
    """Height and width of a mask, in pixels.

    Raises:
        ValueError: they are none.
    """
    sides = rle["size"]
    whole = isinstance(sides, list | tuple) and [type(side) for side in sides] == [int, int]
    if not whole or min(sides) < 1 or sides[0] * sides[1] > MAX_PIXELS:
        raise ValueError(f"the size of a mask is {sides!r:.60}, not its height and width")
    return sides[0], sides[1]


def encode(mask: np.ndarray) -> dict:
    """Encodes a bool[h w] mask as {"size": [h, w], "counts": str}.

    Raises:
        ValueError: the mask is not two-dimensional.
    """
    if mask.ndim != 2:
        raise ValueError(f"a mask has two axes, height and width; got the shape {mask.shape}")
    pixels = np.asarray(mask, bool).ravel(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    starts = np.concatenate([[0], [0] if pixels.size and pixels[0] else [], changes, [pixels.size]])
    runs = np.diff(starts).astype(int).tolist()
    numbers = [run - runs[i - 2] if i > 2 else run for i, run in enumerate(runs)]
    return {"size": list(mask.shape), "counts": "".join(map(_characters, numbers))}


def counts(text: str | bytes) -> np.ndarray:
    """The run lengths i64[n] in a compressed string.

    Raises:
        ValueError: the string ends inside a number, or holds a character or a number that the format does not have.
    """
    groups = np.frombuffer(text.encode() if isinstance(text, str) else text, np.uint8).astype(np.int64) - 48
    if not groups.size:
        return np.zeros(0, np.int64)
    if groups.min() < 0 or groups.max() > 63 or groups[-1] & 0x20:
        raise ValueError(
            "not a COCO run-length string: a character is out of range or the last number is cut"
        )
    ends = np.flatnonzero(groups & 0x20 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if (ends - starts).max() >= MAX_GROUPS:
        raise ValueError("not a COCO run-length string: a number is too large")
    shift = 5 * (np.arange(groups.size) - np.repeat(starts, ends - starts + 1))
    numbers = np.add.reduceat((groups & 0x1F) << shift, starts)
    negative = groups[ends] & 0x10 != 0
    numbers -= np.where(negative, np.int64(1) << (shift[ends] + 5), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def decode(rle: dict, rows: np.ndarray | None = None, columns: np.ndarray | None = None) -> np.ndarray:
    """The mask u8[h w], 0 or 1, of {"size": [h, w], "counts": str | bytes}.

    Args:
        rle: a mask.
        rows: only these rows of it, i[r], and...
        columns: ... only these columns, i[c]; time and memory are those of what is asked for.

    Raises:
        ValueError: the size is none, or the runs do not fill it.
    """
    height, width = size(rle)
    runs = counts(rle["counts"])
    if not runs.size or runs.min() < 0 or runs.max() > height * width or runs.sum() != height * width:
        raise ValueError(f"the run lengths of a mask do not fill its {height} x {width} pixels")
    rows = np.arange(height) if rows is None else rows
    columns = np.arange(width) if columns is None else columns
    run = np.searchsorted(np.cumsum(runs), columns * height + rows[:, None], side="right")
    return (run & 1).astype(np.uint8)


def _characters(number: int) -> str:
    characters = []
    while True:
        group = number & 0x1F
        number >>= 5
        more = number != (-1 if group & 0x10 else 0)
        characters.append(chr(48 + group + (0x20 if more else 0)))
        if not more:
            return "".join(characters)
