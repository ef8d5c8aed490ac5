"""The mean training frame: what one would predict who looks at nothing.

Scores are compared with it. It travels with the model, as mean_frame.png in the run and in the facts of an exported
file, so that scoring needs no training data.
"""

import base64
import binascii
import contextlib
import io
import pathlib

import numpy as np
from PIL import Image

from data_pipelines.datasets import open_split
from data_pipelines.progress import Progress
from data_pipelines.whole_files import whole_file

FILENAME = "mean_frame.png"
NUM_VIDEOS = 1000


def keep(workdir: pathlib.Path, dataset_dir: pathlib.Path) -> None:
    """Writes it into a run, if it is not there, from the training videos of a data set."""
    path = workdir / FILENAME
    if not path.exists():
        with whole_file(path) as partial:
            partial.write_bytes(_png(compute(dataset_dir)))


def compute(dataset_dir: pathlib.Path) -> np.ndarray:
    """The mean u8[h w 3] of the training videos' frames, rounded as frames are: at 8 bits it goes anywhere unchanged.

    Of more than a thousand videos, a thousand that are spread evenly over the split are read.
    """
    records = open_split(dataset_dir, "train").records
    chosen = np.linspace(0, len(records) - 1, min(len(records), NUM_VIDEOS)).astype(int)
    total, frames = 0.0, 0
    with contextlib.closing(Progress("mean training frame", len(chosen), "videos")) as progress:
        for position in chosen:
            video = records[int(position)]["video"]
            total, frames = total + video.sum(0, dtype=np.float64), frames + len(video)
            progress.advance()
    return np.rint(total / frames).astype(np.uint8)


def read(workdir: str | pathlib.Path) -> np.ndarray | None:
    """That of a run, u8[h w 3]; None where the run was last trained by a release that did not keep it.

    Raises:
        ValueError: the file is damaged.
    """
    path = pathlib.Path(workdir, FILENAME)
    if not path.exists():
        return None
    try:
        return _pixels(path.read_bytes())
    except (OSError, SyntaxError):
        raise ValueError(f"{path} is no picture: remove it, training writes it again") from None


def to_text(frame: np.ndarray) -> str:
    """A frame u8[h w 3] as text, for the facts of an exported file."""
    return base64.b64encode(_png(frame)).decode()


def of_text(text: object) -> np.ndarray | None:
    """The frame of `to_text`; None of anything else, for other programs write such files too."""
    try:
        return _pixels(base64.b64decode(text, validate=True))
    except (TypeError, binascii.Error, OSError, SyntaxError):
        return None


def _png(frame: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "PNG", optimize=True)
    return file.getvalue()


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
