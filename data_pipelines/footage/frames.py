"""One decoded frame as its container says that it is to be shown: turned, cropped, in its shape and colours."""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipelines.footage.pictures import centre, shown_size

# Without these flags swscale rounds differently from one processor family to the next.
SCALING = "flags=area+accurate_rnd+full_chroma_int+bitexact"
UNSPECIFIED = 2  # of matrices and transfer functions, numbered as in ITU-T H.273
# Matrices that swscale knows; without any it takes BT.601's, as FFmpeg's program does.
MATRICES = frozenset((1, UNSPECIFIED, 4, 5, 6, 7, 9))
# Transfer functions of no usual screen.
TRANSFERS = {8: "linear", 9: "log", 10: "log", 16: "PQ, HDR", 17: "SMPTE 428", 18: "HLG, HDR"}


class Shown(NamedTuple):
    """How the pictures of a stream are to be shown, as its container says."""

    path: Path
    index: int  # of the stream
    pixel_aspect: float  # width of a pixel over its height
    cropped: tuple[int, int, int, int]  # pixels off the left, right, top, bottom
    decoder: str | None  # by name, where it is not FFmpeg's choice


class DecodedPicture:
    """A frame of PyAV as `pictures.Picture`."""

    def __init__(self, frame, shown: Shown, scaler: "Scaler"):
        self._frame, self._scaler = frame, scaler
        _check_colors(frame, shown.path)
        self._turn = False, False, False
        if frame.side_data:  # few have any, and looking for each kind takes time
            _check_projection(frame, shown.path)
            self._turn = _turn(frame, shown.path)
        left, right, top, bottom = shown.cropped
        stored = frame.width - left - right, frame.height - top - bottom
        if min(stored) < 1:
            raise ValueError(f"{shown.path}: cuts off more than its pictures have")
        size = shown_size(*stored, shown.pixel_aspect)
        self.size = size[::-1] if self._turn[0] else size

    def resized(self, height: int, width: int, aspect: float | None) -> np.ndarray:
        swapped, rows_backwards, columns_backwards = self._turn
        if swapped:
            height, width, aspect = width, height, aspect and 1 / aspect
        pixels = self._scaler.scale(self._frame, height, width, aspect)
        pixels = pixels.swapaxes(0, 1) if swapped else pixels
        steps = -1 if rows_backwards else 1, -1 if columns_backwards else 1
        return np.ascontiguousarray(pixels[:: steps[0], :: steps[1]])


def _turn(frame, path: Path) -> tuple[bool, bool, bool]:
    """Whether rows become columns, and whether then rows, columns, run backwards."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return False, False, False
    # A pixel at (x, y) is shown at (a x + c y, b x + d y).
    a, b, _, c, d, *_ = np.frombuffer(bytes(matrix), np.int32).astype(float).tolist()
    straight, swapped, tolerance = (abs(a), abs(d)), (abs(b), abs(c)), 0.0175  # a degree, as FFmpeg's
    if max(straight) == max(swapped) == 0:
        return False, False, False
    if max(swapped) <= tolerance * min(straight):
        return False, d < 0, a < 0
    if max(straight) <= tolerance * min(swapped):
        return True, b < 0, c < 0
    raise ValueError(f"{path}: is to be shown turned by an angle; only quarter turns and mirroring can be")


def _check_colors(frame, path: Path) -> None:
    if not frame.format.is_rgb and frame.colorspace not in MATRICES and frame.colorspace not in (0, 3):
        raise ValueError(
            f"{path}: its colours are coded in a way that is not known (matrix {frame.colorspace})"
        )
    if frame.color_trc in TRANSFERS:
        raise ValueError(
            f"{path}: its colours are not those of a usual screen ({TRANSFERS[frame.color_trc]}): convert it first, "
            "for example ffmpeg -i IN -vf zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=hable,"
            "zscale=t=bt709:m=bt709:r=tv,format=yuv420p OUT.mp4"
        )


def _check_projection(frame, path: Path) -> None:
    stereo, sphere = (frame.side_data.get(name) for name in ("STEREO3D", "SPHERICAL"))
    if stereo is not None and 0 < int.from_bytes(bytes(stereo)[:4], sys.byteorder) < 8:
        raise ValueError(f"{path}: each picture is two, one for each eye: cut one out first")
    if sphere is not None and int.from_bytes(bytes(sphere)[:4], sys.byteorder) != 4:
        raise ValueError(
            f"{path}: is a panorama, which has no flat picture: project it first (ffmpeg -vf v360)"
        )


class Scaler:
    """Scales frames; the filters are set up again when the frames change."""

    def __init__(self, shown: Shown):
        self._shown = shown
        self._key = self._graph = None
        self._opaque: dict[str, bool] = {}  # by the name of a format

    def scale(self, frame, height: int, width: int, aspect: float | None) -> np.ndarray:
        frame = frame if self._is_opaque(frame.format) else _on_white(frame)
        key = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range)
        if self._key != (*key, height, width, aspect):
            self._key = (*key, height, width, aspect)
            self._graph = filters(frame, *self._steps(frame, height, width, aspect))
        self._graph.push(frame)
        return self._graph.pull().to_ndarray()

    def _is_opaque(self, form) -> bool:
        if form.name not in self._opaque:
            transparent = form.has_palette or any(part.is_alpha for part in form.components)
            self._opaque[form.name] = not transparent
        return self._opaque[form.name]

    def _steps(self, frame, height: int, width: int, aspect: float | None) -> list[tuple[str, str]]:
        left, right, top, bottom = self._shown.cropped
        stored = frame.width - left - right, frame.height - top - bottom
        part = centre(stored, aspect and aspect / self._shown.pixel_aspect)
        part_width, part_height = max(1, round(part[2] - part[0])), max(1, round(part[3] - part[1]))
        x, y = left + (stored[0] - part_width) // 2, top + (stored[1] - part_height) // 2
        steps = [("scale", f"{width}:{height}:{SCALING}"), ("format", "rgb24")]
        if (part_width, part_height) != (frame.width, frame.height):
            steps.insert(0, ("crop", f"{part_width}:{part_height}:{x}:{y}"))
        return steps


def _on_white(frame):
    """A transparent frame in front of white."""
    import av

    graph = filters(frame, ("scale", SCALING), ("format", "rgba"))
    graph.push(frame)
    pixels = graph.pull().to_ndarray().astype(np.uint16)
    colors, alpha = pixels[..., :3], pixels[..., 3:]
    blended = (colors * alpha + 255 * (255 - alpha) + 127) // 255
    return av.VideoFrame.from_ndarray(blended.astype(np.uint8), format="rgb24")


def filters(frame, *steps: tuple[str, str]):
    """Filters for frames like this one."""
    import av

    source = f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/1000"
    if not frame.format.is_rgb and not frame.format.has_palette:
        matrix = frame.colorspace if frame.colorspace in MATRICES else UNSPECIFIED
        source += f":colorspace={matrix}:range={frame.color_range}"
    graph = av.filter.Graph()
    node = graph.add("buffer", source)
    for name, arguments in [*steps, ("buffersink", None)]:
        following = graph.add(name, arguments)
        node.link_to(following)
        node = following
    graph.configure()
    return graph
