"""How fast the data come: the simulator, the video reader, the loader."""

import contextlib
import pathlib
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from data_pipelines import build, loaders
from data_pipelines.datasets import dataset_path
from data_pipelines.simulator.clevrer_files import write_mp4
from data_pipelines.video import read_video
from experiments.config import TrainConfig


def measure_data(config: TrainConfig, step_seconds: float | None) -> dict[str, Any]:
    """Rates of the simulator, the video reader and the loader, on a few simulated videos of the preset's size.

    Args:
        step_seconds: of a training step; the loader's share of it is then told.
    """
    model, num_frames = config.model, config.curriculum[-1][1]
    with tempfile.TemporaryDirectory() as folder:
        options = dict(height=model.image_height, width=model.image_width, num_train=8)
        options |= dict(scenes="quickstart", stride=4)
        with _seconds() as simulating:
            made = build.make_config("simulated_clevrer", **options)
            build.build("simulated_clevrer", made, folder, splits=["train"])
        video = pathlib.Path(folder, "video.mp4")
        frames = np.random.default_rng(0).integers(0, 256, (128, 320, 480, 3), np.uint8)
        write_mp4(video, np.repeat(frames[:8], 16, axis=0))
        with _seconds() as decoding:
            read_video(video, model.image_height, model.image_width, crop=True)
        batches = loaders.training_batches(
            dataset_path("simulated_clevrer", made.name, folder),
            "train",
            num_frames=min(num_frames, 10),
            stride=4,
            batch_size=config.batch_size,
            seed=0,
        )
        with contextlib.closing(batches):
            next(batches)  # the threads start
            with _seconds() as loading:
                for _ in range(20):
                    next(batches)
    rates = {
        "simulated_videos_per_second": 8 / simulating[0],
        "decoded_frames_per_second": 128 / decoding[0],
        "loaded_frames_per_second": 20 * config.batch_size * min(num_frames, 10) / loading[0],
    }
    if step_seconds:
        rates["loader_share_of_a_training_step"] = loading[0] / 20 / step_seconds
    return rates


@contextlib.contextmanager
def _seconds() -> Iterator[list[float]]:
    spent: list[float] = []
    began = time.perf_counter()
    yield spent
    spent.append(time.perf_counter() - began)
