"""Images, animations and folders of images, as Pillow reads them and as they say that they are to be shown.

What is honoured: orientation and mirroring (EXIF), shape of pixels, colour profiles and CMYK, 16 bits, palettes,
transparency (white shows through), and the times of animations. Of files with further pictures that are no animation, a
camera's preview or gain map, the first is the picture.
"""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps

from data_pipelines.footage.pictures import Picture, Source, centre, shown_size
from data_pipelines.footage.timing import even_counts

SUFFIXES = frozenset(
    ".apng .avif .bmp .gif .jfif .jpe .jpeg .jpg .mpo .pgm .png .ppm .tif .tiff .webp".split()
)
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # of Pillow; JPEG covers MPO
SEQUENCES = {"AVIF", "GIF", "PNG", "TIFF", "WEBP"}  # whose further pictures are shown one after the other
# What Pillow raises of damaged files; it names them in no one way.
ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
)
SHORTEST, INSTEAD = 20, 100  # milliseconds: what an animation shows shorter is shown so long, as in browsers
SCREEN_GAMMA = 1 / 2.2
SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # of profiles, as Pillow's modes
PREVIEW, BITS, ORIENTATION = 254, 258, 274  # tags of TIFF and EXIF


def _formats() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]  # older versions of Pillow lack AVIF


def is_image(path: Path) -> bool:
    """Whether a file is one for Pillow: by its name, else by what is in it."""
    if path.suffix.lower() in SUFFIXES:
        return True
    if not path.is_file():  # one would wait for what comes through a pipe
        return False
    try:
        with Image.open(path, formats=_formats()):
            return True
    except Image.DecompressionBombError:
        return True
    except ERRORS:
        return False


def open_images(path: Path, wanted: int | None) -> Source:
    """The pictures of a folder of images, by name, numbers by value; or those of one file.

    Args:
        path: a folder or an image.
        wanted: how many pictures are looked at, None for all.

    Raises:
        ValueError: there are none, or they cannot be read; one line says why. What is in the pictures shows only when
            they are taken.
    """
    if not path.is_dir():
        return _open_file(path, wanted)
    # Names with a dot in front are what systems put there.
    files = [file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.name[0] != "."]
    if not files:
        raise ValueError(f"{path}: holds no images ({', '.join(sorted(SUFFIXES))})")
    return Source(_folder(sorted(files, key=_natural)))


def _natural(path: Path) -> list:
    """The name for sorting: frame_10 comes after frame_9."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", path.name)]


def _folder(files: list[Path]) -> Iterator[Picture]:
    for file in files:
        with _opened(file) as image:
            yield _ImagePicture(image, file)


def _opened(path: Path) -> Image.Image:
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: is no file, but is called like an image")
    try:
        return Image.open(path, formats=_formats())
    except (*ERRORS, Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> ValueError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ValueError(f"{path}: cannot be read as an image ({reason})")


def _open_file(path: Path, wanted: int | None) -> Source:
    durations = []
    for image in _sequence(path):
        if len(durations) == wanted:
            break
        durations.append(image.info.get("duration"))
    if len(durations) < 3 or None in durations:
        return Source(_still(path, [1] * len(durations)))
    shown = [float(duration) if duration >= SHORTEST else INSTEAD for duration in durations]
    try:
        counts = even_counts([0, *np.cumsum(shown[:-1]) / 1000])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    uneven = any(count != 1 for count in counts)
    notes = ("shown for uneven times: some come again or not at all, so that all are evenly spaced",)
    return Source(_still(path, counts), notes if uneven else ())


def _still(path: Path, counts: list[int]) -> Iterator[Picture]:
    for position, image in enumerate(_sequence(path)):
        count = counts[position] if position < len(counts) else 1
        yield from [_ImagePicture(image, path)] * count


def _sequence(path: Path) -> Iterator[Image.Image]:
    """The pictures of one file that are to be shown one after the other: one object, which each next one changes."""
    with _opened(path) as image:
        position = 0
        hidden = getattr(image, "default_image", False)  # of a PNG, for those who know no animations
        while True:
            try:
                image.seek(position)
                image.load()  # animations know their times only then
            except EOFError:
                if position:
                    return
                raise _unreadable(path, EOFError("no picture in it")) from None
            except ERRORS as error:
                raise _unreadable(path, error) from None
            reduced = image.format == "TIFF" and image.tag_v2.get(PREVIEW, 0) & 1  # a preview of another page
            if not reduced and not (hidden and position == 0):
                yield image
            if image.format not in SEQUENCES:
                return
            position += 1


class _ImagePicture:
    def __init__(self, image: Image.Image, path: Path):
        self._image, self._path = image, path
        self._pixels: np.ndarray | None = None
        self._pixel_aspect = _pixel_aspect(image)
        bits = image.tag_v2.get(BITS, (16,))[0] if image.format == "TIFF" else 16
        self._largest = (1 << min(bits, 16)) - 1  # of pixels of more than 8 bits

    @property
    def size(self) -> tuple[int, int]:
        return shown_size(*self._rgb().shape[1::-1], self._pixel_aspect)

    def resized(self, height: int, width: int, aspect: float | None) -> np.ndarray:
        pixels = self._rgb()
        left, top, right, bottom = centre(pixels.shape[1::-1], aspect and aspect / self._pixel_aspect)
        rows = _area_weights(top, bottom, pixels.shape[0], height)
        columns = _area_weights(left, right, pixels.shape[1], width)
        return np.round(np.einsum("yh,hwc,xw->yxc", rows, pixels, columns, optimize=True)).astype(np.uint8)

    def _rgb(self) -> np.ndarray:
        if self._pixels is None:
            try:
                upright = ImageOps.exif_transpose(self._image)
                if self._image.getexif().get(ORIENTATION, 1) >= 5:  # rows become columns
                    self._pixel_aspect = 1 / self._pixel_aspect
                self._pixels = np.asarray(_to_rgb(upright, self._largest))
            except (*ERRORS, ImageCms.PyCMSError) as error:
                raise _unreadable(self._path, error) from None
        return self._pixels


def _pixel_aspect(image: Image.Image) -> float:
    """Width of a pixel over its height: by its dots an inch, or as a ratio alone."""
    ratio = image.info.get("aspect")  # of a PNG: dots to the right, dots down, of a unit that is not said
    if image.info.get("jfif_unit") == 0:
        ratio = image.info["jfif_density"][::-1]  # which JPEG defines as the ratio itself
    across, down = (float(dots) for dots in ratio or image.info.get("dpi") or (1, 1))
    shape = down / across if across > 0 and down > 0 else 1.0
    return shape if 0.01 < shape < 100 else 1.0  # others are no shapes of pixels


def _to_rgb(image: Image.Image, largest: int) -> Image.Image:
    """An image, of pixels up to 255 or `largest`, as 8-bit RGB in the colours of a usual screen, in front of white."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > largest:
            raise ValueError(f"values {values.min()} to {values.max()} are not {largest.bit_length()}-bit")
        levels = np.round(values * 255 / largest).astype(np.uint8)
        levels[values == image.info.get("transparency", -1)] = 255
        return _usual_colors(Image.fromarray(levels), image.info).convert("RGB")
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        colors = _usual_colors(rgba.convert("RGB"), image.info)
        colors.putalpha(rgba.getchannel("A"))
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), colors).convert("RGB")
    plain = image if image.mode in ("L", "CMYK") else image.convert("RGB")
    return _usual_colors(plain, image.info).convert("RGB")


def _usual_colors(image: Image.Image, info: dict) -> Image.Image:
    """An image of mode L, RGB or CMYK as sRGB, by what its file says of its colours."""
    if profile := info.get("icc_profile"):
        source, screen = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        space = source.profile.xcolor_space.strip()
        if space == "RGB" and image.mode == "L":
            image = image.convert("RGB")  # gray is equal parts of the profile's colours
        if SPACES.get(space) != image.mode:
            raise ValueError(f"its colour profile is of {space}, its pixels are {image.mode}")
        return ImageCms.profileToProfile(image, source, screen, outputMode="RGB")
    gamma = info.get("gamma", SCREEN_GAMMA)  # of a PNG
    if "srgb" in info or gamma <= 0 or abs(gamma / SCREEN_GAMMA - 1) < 0.05:
        return image
    levels = np.round(255 * (np.arange(256) / 255) ** (SCREEN_GAMMA / gamma)).astype(int).tolist()
    return image.point(levels * len(image.getbands()))


def _area_weights(start: float, stop: float, size: int, count: int) -> np.ndarray:
    """How much of each of `size` pixels lies in each of `count` equal pieces from start to stop: f64[count size]."""
    edges, pixel = np.linspace(start, stop, count + 1)[:, None], np.arange(size)
    overlap = np.clip(np.minimum(edges[1:], pixel + 1) - np.maximum(edges[:-1], pixel), 0, None)
    return overlap / overlap.sum(1, keepdims=True)
