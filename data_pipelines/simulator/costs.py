"""Where the time of a simulated video goes: CPU-seconds a video, in one process.

    python -m data_pipelines.simulator.costs --height=64 --width=64 --stride=4 --supersampling=3
    python -m data_pipelines.simulator.costs --height=320 --width=480 --stride=1 --supersampling=2

The first video is not counted: it takes what is compiled from the cache, or compiles it.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from data_pipelines.simulator.clevrer_files import ClevrerWriter
from data_pipelines.simulator.config import CLEVRER, video_seed
from data_pipelines.simulator.physics import simulate
from data_pipelines.simulator.videos import generate_scene, render

Result = TypeVar("Result")


def costs(
    height: int, width: int, stride: int, supersampling: int, num_videos: int
) -> Iterator[dict[str, float]]:
    """CPU-seconds of each part, video by video."""
    size = {"height": height, "width": width, "supersampling": supersampling}
    frames = np.arange(0, CLEVRER.num_frames, stride)
    with tempfile.TemporaryDirectory() as folder:
        writer = ClevrerWriter(
            root=Path(folder), split="train", config=CLEVRER, seed=0, num_frames=CLEVRER.num_frames, **size
        )
        for index in range(num_videos + 1):
            seed = video_seed(0, index)
            search, (scene, trajectory) = _timed(generate_scene, CLEVRER, seed)
            # What is left of the search are the draws that were not accepted.
            motion, _ = _timed(simulate, scene, len(trajectory.location))
            drawing, _ = _timed(render, scene, trajectory, frames, **size)
            parts = {"draws rejected": search - motion, "motion of the one kept": motion, "drawing": drawing}
            if stride == 1:
                whole, _ = _timed(writer.write, index)
                parts["mp4 and JSON"] = whole - search - drawing
            if index:
                yield parts


def _timed(function: Callable[..., Result], *arguments: object, **options: object) -> tuple[float, Result]:
    start = time.process_time()
    result = function(*arguments, **options)
    return time.process_time() - start, result


def main() -> None:
    """Prints the means."""
    options = vars(_parser().parse_args())
    if min(options.values()) < 1:
        _parser().error("every option must be at least 1")
    videos = list(costs(**options))
    means = {part: np.mean([video[part] for video in videos]) for part in videos[0]}
    for part, seconds in (means | {"all": sum(means.values())}).items():
        print(f"{part:<24}{seconds:8.4f}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_pipelines.simulator.costs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    defaults = {"height": 64, "width": 64, "stride": 4, "supersampling": 3, "num_videos": 20}
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default: {default}")
    return parser


if __name__ == "__main__":
    main()
