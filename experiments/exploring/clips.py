"""The clips that the page shows: simulated scenes, the video of the command line, uploads that stay in memory."""

import io
import os
import pathlib
from typing import NamedTuple

import numpy as np
from PIL import Image

from data_pipelines.footage.containers import tolerance
from data_pipelines.footage.images import ERRORS
from data_pipelines.simulator import SceneConfig, Trajectory, generate_scene, video_seed
from data_pipelines.simulator.scenes import Scene
from data_pipelines.simulator.videos import film, stored_frames
from data_pipelines.video import read_footage
from experiments.runs.scenes import SIMULATED_INDEX

MOST_FRAMES = 64  # of a clip: what a tab keeps stays below some hundred megabytes, of the paper's model too
MOST_UPLOADED = 32 * 2**20  # bytes
MOST_PIXELS = 2**23  # of an uploaded frame: 4K has almost as many
SUPERSAMPLING = 3
# Of videos that people have. A playlist, whatever it calls itself, could name files of this machine.
CONTAINERS = {"mov", "matroska", "avi", "mpegts", "mpeg", "ogg", "flv"}
IMAGES = ("AVIF", "GIF", "JPEG", "PNG", "WEBP")


class Origin(NamedTuple):
    """The scene that a simulated clip is of, by which it can be simulated again."""

    scene: Scene
    trajectory: Trajectory
    index: int  # of the scene among those of its family


class Clip(NamedTuple):
    """What the model sees."""

    video: np.ndarray  # u8[t h w 3]
    segmentation: np.ndarray | None  # u8[t h w]; 0 background, object_id + 1; None where nobody knows
    origin: Origin | None  # None of a recording
    stride: int  # source frames from one frame to the next
    account: str  # what it is, for people


def simulated_clip(scenes: SceneConfig, index: int, height: int, width: int, stride: int) -> Clip:
    """The scene of an index, from 0: the same whenever it is asked for.

    Raises:
        ValueError: the family has no acceptable scene there.
    """
    scene, trajectory = generate_scene(scenes, video_seed(0, SIMULATED_INDEX + index))
    frames = stored_frames(scenes.num_frames, stride, None)[:MOST_FRAMES]
    shown = film(scene, trajectory, frames, height=height, width=width, supersampling=SUPERSAMPLING)
    account = (
        f"simulated scene {index}: {len(frames)} frames of {width}x{height}, {len(scene.objects)} objects"
    )
    return Clip(shown.video, shown.segmentation, Origin(scene, trajectory, index), stride, account)


def recorded_clip(path: pathlib.Path, height: int, width: int, stride: int, name: str | None = None) -> Clip:
    """The first frames of a video, an image or a folder of images; `name` stands for the path in what is said.

    Raises:
        FileNotFoundError, ValueError: as `read_footage`.
    """
    try:
        footage = read_footage(path, height, width, stride=stride, limit=MOST_FRAMES)
    except ValueError as error:
        raise ValueError(str(error).replace(str(path), name) if name else str(error)) from None
    if len(footage.video) < 2:
        raise ValueError(f"{name or path}: has one frame only; what moves shows in two or more")
    # The words on what was left out name an option of another program.
    account = footage.account.partition("; further ones are left out")[0]
    return Clip(footage.video, None, None, stride, f"{name or path.name}, {account}")


def can_upload() -> bool:
    """Whether this system has files that lie in memory alone, through which uploads are read (Linux)."""
    return hasattr(os, "memfd_create")


def uploaded_clip(content: bytes, height: int, width: int, stride: int) -> Clip:
    """A video or an animation that came with a request; it never becomes a file of a disk.

    Raises:
        ValueError: it is too large, no video or image, or of a kind that can name other files; one line says which.
    """
    if not 0 < len(content) <= MOST_UPLOADED:
        raise ValueError(f"the upload has {len(content)} bytes: from 1 to {MOST_UPLOADED} are read")
    is_image = _check_image(content)
    if not is_image:
        _check_video(content)
    descriptor = os.memfd_create("upload")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        path = pathlib.Path(f"/proc/self/fd/{descriptor}")
        return recorded_clip(path, height, width, 1 if is_image else stride, name="the upload")
    finally:
        os.close(descriptor)


def _check_image(content: bytes) -> bool:
    """Whether it is an image of a size that is read."""
    try:
        with Image.open(
            io.BytesIO(content), formats=[name for name in IMAGES if name in Image.OPEN]
        ) as image:
            _check_size(*image.size)
            return True
    except Image.DecompressionBombError:
        _check_size(*[MOST_PIXELS] * 2)
    except _TooLarge:
        raise
    except ERRORS:
        return False


def _check_video(content: bytes) -> None:
    import av

    try:
        # Nothing but these bytes can be opened from here, whatever they name.
        with av.open(io.BytesIO(content), options={"protocol_whitelist": "none"}, **tolerance()) as container:
            kinds = set(container.format.name.split(","))
            sizes = [(stream.width, stream.height) for stream in container.streams.video]
    except av.error.FFmpegError:
        raise ValueError("the upload is no video and no image that can be read") from None
    if not kinds & CONTAINERS:
        raise ValueError(f"the upload is of the kind {container.format.name}, which is not read from a page")
    for width, height in sizes:
        _check_size(width, height)


class _TooLarge(ValueError):
    pass


def _check_size(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise _TooLarge(f"the upload has frames of more than {MOST_PIXELS} pixels: make it smaller first")
