"""Reads anyone's moving pictures: a video file, an animated image, or a folder of images."""

import itertools
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, ImageSequence

IMAGE_SUFFIXES = frozenset(".apng .bmp .gif .jpeg .jpg .pgm .png .ppm .tif .tiff .webp".split())


class Footage(NamedTuple):
    """Frames as a model wants them, and how they came about."""

    video: np.ndarray  # u8[t h w 3]
    source_frame: np.ndarray  # i64[t], counted from 0
    account: str  # what was done, for people


def is_video_file(path: pathlib.Path) -> bool:
    """Whether a path is read as a video, whose frames follow each other closely, and not as images."""
    return not path.is_dir() and path.suffix.lower() not in IMAGE_SUFFIXES


def read_footage(
    path: pathlib.Path, height: int, width: int, *, start: int = 0, stride: int = 1, limit: int = 100
) -> Footage:
    """Reads frames start, start + stride, ..., at most `limit` of them, and nothing behind them.

    Of each frame the largest centred part of the wanted shape is taken, and each pixel becomes the mean of the area
    that it covers, as in the data sets that models are trained on. Transparent pixels become white, 16-bit ones are
    scaled to 8 bits, and turned pictures are turned upright. Images of a folder come by name, numbers by value.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: it cannot be read, holds no frames that far, or frames of different sizes.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    taken, size, more = [], None, False
    for frame in itertools.islice(_frames(path), start, None, stride):
        if len(taken) == limit:
            more = True
            break
        image = _to_rgb(frame, path)
        if size not in (None, image.size):
            raise ValueError(
                f"{path}: frame {start + len(taken) * stride} has {_by(image.size)} pixels, those before it "
                f"{_by(size)}: one video has frames of one size"
            )
        size = image.size
        taken.append(_shrink(np.asarray(image), height, width))
    if not taken:
        raise ValueError(f"{path}: holds no frames" + (f" from frame {start} on" if start else ""))
    left, top, right, bottom = _centre(size, width / height)
    part = (round(right - left), round(bottom - top))
    crop = "" if part == size else f", the centre of {_by(part)} taken"
    account = (
        f"{len(taken)} frames (every {stride}., from frame {start}) of {_by(size)} pixels{crop}, resized to "
        f"{width}x{height}"
        + (f"; further ones are left out, --num_frames={limit} is reached" if more else "")
    )
    return Footage(np.stack(taken), start + stride * np.arange(len(taken)), account)


def _frames(path: pathlib.Path) -> Iterator:
    """All frames, as Pillow or PyAV holds them: those that nobody looks at are not converted."""
    if path.is_dir():
        files = [file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES]
        if not files:
            raise ValueError(f"{path}: holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
        for file in sorted(files, key=_natural):
            with _open(file) as image:
                yield image
    elif is_video_file(path):
        yield from _decode(path)
    else:
        with _open(path) as image:
            yield from ImageSequence.Iterator(image)


def _natural(path: pathlib.Path) -> list:
    """The name for sorting: frame_10 comes after frame_9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"([0-9]+)", path.name)]


def _open(path: pathlib.Path) -> Image.Image:
    try:
        return Image.open(path)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: cannot be read as an image ({error})") from None


def _decode(path: pathlib.Path) -> Iterator:
    import av  # 0.1 s, and images do not need it

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError(f"{path}: holds no video stream")
            container.streams.video[0].thread_type = "AUTO"
            yield from container.decode(container.streams.video[0])
    except av.error.FFmpegError as error:
        raise ValueError(f"{path}: cannot be decoded ({error.strerror}), no video or damaged?") from None


def _to_rgb(frame, path: pathlib.Path) -> Image.Image:
    """A frame of Pillow or PyAV, upright, as 8-bit RGB."""
    if not isinstance(frame, Image.Image):
        has_alpha = any(component.is_alpha for component in frame.format.components)
        pixels = frame.to_ndarray(format="rgba" if has_alpha else "rgb24")
        # The rotation is that which shows the picture upright, counterclockwise.
        frame = Image.fromarray(np.ascontiguousarray(np.rot90(pixels, frame.rotation // 90)))
    try:
        frame = ImageOps.exif_transpose(frame)
        if frame.mode.startswith("I"):
            values = np.asarray(frame).astype(np.int64)
            if values.min() < 0 or values.max() > 65535:
                raise ValueError(f"values {values.min()} to {values.max()} are not 16-bit")
            return Image.fromarray(np.round(values / 257).astype(np.uint8)).convert("RGB")
        if frame.mode == "F":
            raise ValueError("floating-point pixels have no known range")
        if frame.has_transparency_data:
            frame = frame.convert("RGBA")
            frame = Image.alpha_composite(Image.new("RGBA", frame.size, "white"), frame)
        return frame.convert("RGB")
    except (OSError, ValueError) as error:
        name = getattr(frame, "filename", None) or path
        raise ValueError(f"{name}: cannot be read as an image ({error})") from None


def _shrink(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """The centred part of u8[H W 3] at another size: each pixel is the mean of the area that it covers."""
    left, top, right, bottom = _centre((pixels.shape[1], pixels.shape[0]), width / height)
    rows = _area_weights(top, bottom, pixels.shape[0], height)
    columns = _area_weights(left, right, pixels.shape[1], width)
    return np.round(np.einsum("yh,hwc,xw->yxc", rows, pixels, columns, optimize=True)).astype(np.uint8)


def _area_weights(start: float, stop: float, size: int, count: int) -> np.ndarray:
    """How much of each of `size` pixels lies in each of `count` equal pieces from start to stop: f64[count size]."""
    edges, pixel = np.linspace(start, stop, count + 1)[:, None], np.arange(size)
    overlap = np.clip(np.minimum(edges[1:], pixel + 1) - np.maximum(edges[:-1], pixel), 0, None)
    return overlap / overlap.sum(1, keepdims=True)


def _centre(size: tuple[int, int], aspect: float) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the largest centred part of a picture with a ratio of width to height."""
    width, height = min(size[0], size[1] * aspect), min(size[1], size[0] / aspect)
    left, top = (size[0] - width) / 2, (size[1] - height) / 2
    return left, top, left + width, top + height


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
