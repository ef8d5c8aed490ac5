"""What a model is shown that somebody has brought, or, where nobody has, a simulated scene like those it knows."""

import os
from pathlib import Path

import numpy as np

from data_pipelines.simulator import CLEVRER, QUICKSTART, SceneConfig
from data_pipelines.video import Footage, is_video_file, read_footage
from experiments.config import DataConfig
from experiments.runs.trained import Trained

SIMULATED_INDEX = 900_000  # of a scene that no data set has by default
DEFAULT_STRIDE = 4  # where a model does not say what it was trained with


def familiar_scenes(data: DataConfig | None) -> SceneConfig:
    """The family of simulated scenes that is most like what a model was trained on."""
    return QUICKSTART if data and data.config.startswith("quickstart") else CLEVRER


def name_of(path: Path | None) -> str:
    """What a folder of results is called after its input, which has a name even where that is `.` or `..`."""
    return Path(os.path.abspath(path)).stem if path else "simulated"


def show(
    found: Trained, path: Path | None, start: int, stride: int | None, limit: int, usual: int | None = None
) -> Footage:
    """Frames start, start + stride, ..., at most `limit` of them, at the model's size; of a fresh scene without a path.

    Args:
        stride: None takes the usual one for videos, and every image of a folder or an animation.
        usual: None: that of the model's training.

    Raises:
        FileNotFoundError, ValueError: as `read_footage`.
    """
    height, width = found.model.config.image_height, found.model.config.image_width
    usual = usual or (found.data.stride if found.data else DEFAULT_STRIDE)
    if path:
        stride = stride or (usual if is_video_file(path) else 1)
        footage = read_footage(path, height, width, start=start, stride=stride, limit=limit)
        return footage._replace(account=f"{path}, {footage.account}")
    from data_pipelines.simulator import simulate_video, video_seed

    stride = stride or usual
    seed = video_seed(0, SIMULATED_INDEX)
    scenes = familiar_scenes(found.data)
    video = simulate_video(scenes, seed, height=height, width=width, stride=stride).video[start:][:limit]
    if not len(video):
        raise ValueError(f"--start={start} is behind the end of the simulated scene")
    frames = stride * (start + np.arange(len(video)))
    return Footage(video, frames, f"a simulated scene, {len(video)} frames of {width}x{height}")
