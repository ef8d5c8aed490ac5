"""Reads moving pictures of any kind, as they are to be shown: a video file, an animation, or a folder of images.

Everything that a file says about how its pictures are to be shown is honoured, or refused in one line: turned and
mirrored pictures come upright, transparent ones in front of white, pixels that are no squares in their true shape. What
in detail is said at the head of `footage.containers` and `footage.images`.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipelines.footage.containers import open_video
from data_pipelines.footage.images import is_image, open_images
from data_pipelines.footage.pictures import Picture, Source, centre


class Footage(NamedTuple):
    """Frames as a model wants them, and how they came about."""

    video: np.ndarray  # u8[t h w 3]
    source_frame: np.ndarray  # i64[t], counted from 0
    account: str  # what was done, for people


def read_video(path: str | Path, height: int, width: int, crop: bool) -> np.ndarray:
    """All frames at another size: u8[t height width 3], RGB.

    Each output pixel is the mean of the area that it covers. CLEVRER's 320 x 480 frames become 64 x 64 with `crop` (the
    paper's preprocessing, by a factor of 0.2) and 64 x 96 without.

    Args:
        path: a video, an animation, an image, or a folder of images.
        height: rows of a frame, in pixels.
        width: columns of a frame, in pixels.
        crop: takes the centre square of each frame first; False takes the whole frame.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: it holds no pictures, is damaged, or cannot be shown as it wants to be; one line says what.
    """
    source = _opened(Path(path), None)
    return np.stack(
        [frame for frame, _ in _frames(source.pictures, path, height, width, 1.0 if crop else None)]
    )


def read_footage(
    path: Path, height: int, width: int, *, start: int = 0, stride: int = 1, limit: int = 100
) -> Footage:
    """Frames start, start + stride, ..., at most `limit` of them; nothing behind them is read.

    Of each frame the largest centred part of the wanted shape is taken, at the wanted size, as by `read_video`.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: as `read_video`, or it holds no frames that far.
    """
    source = _opened(path, start + stride * limit + 1)
    chosen = itertools.islice(source.pictures, start, None, stride)
    frames, sizes = zip(
        *_frames(itertools.islice(chosen, limit), path, height, width, width / height, start, stride)
    )
    size = sizes[0]
    more = len(frames) == limit and next(chosen, None) is not None
    left, top, right, bottom = centre(size, width / height)
    part = (round(right - left), round(bottom - top))
    crop = "" if part == size else f", the centre of {_by(part)} taken"
    account = (
        f"{len(frames)} frames (every {stride}., from frame {start}) of {_by(size)} pixels{crop}, resized to "
        f"{width}x{height}"
        + "".join(f"; {note}" for note in source.notes)
        + (f"; further ones are left out, --num_frames={limit} is reached" if more else "")
    )
    return Footage(np.stack(frames), start + stride * np.arange(len(frames)), account)


def is_video_file(path: Path) -> bool:
    """Whether a path is read as a video, whose frames follow each other closely, and not as images."""
    return not path.is_dir() and not is_image(path)


def _opened(path: Path, wanted: int | None) -> Source:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if not path.is_file() and not path.is_dir():
        raise ValueError(
            f"{path}: is neither a file nor a folder; what comes through a pipe is saved to a file first"
        )
    return open_video(path, wanted) if is_video_file(path) else open_images(path, wanted)


def _frames(
    pictures: Iterator[Picture],
    path: str | Path,
    height: int,
    width: int,
    aspect: float | None,
    start: int = 0,
    stride: int = 1,
) -> Iterator[tuple[np.ndarray, tuple[int, int]]]:
    """Each frame at the wanted size, and what size it had. Raises ValueError where sizes differ, or without any."""
    first = None
    for number, picture in enumerate(pictures):
        first = first or picture.size
        if picture.size != first:
            raise ValueError(
                f"{path}: frame {start + number * stride} has {_by(picture.size)} pixels, those before it "
                f"{_by(first)}: one video has frames of one size"
            )
        yield picture.resized(height, width, aspect), first
    if first is None:
        raise ValueError(f"{path}: holds no frames" + (f" from frame {start} on" if start else ""))


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
