"""One rendered tower as a sample."""

import numpy as np

from data_pipelines.block_towers.example import tower_example
from data_pipelines.samples import Problem, Sample
from data_pipelines.simulator import TowerConfig, simulate_tower, video_seed

# Numbers of videos, and with them the seeds, of one split never reach those of the other.
FIRST_INDEX = {"train": 0, "test": 500_000}


def render_sample(
    towers: TowerConfig,
    seed: int,
    index: int,
    height: int,
    width: int,
    stride: int,
    num_frames: int | None,
    supersampling: int,
) -> Sample:
    """Simulates and renders one tower; `SimulatedBlockTowersConfig` says what the arguments are."""
    filename = f"tower_{index:05d}"
    try:
        tower = simulate_tower(
            video_seed(seed, index),
            height=height,
            width=width,
            stride=stride,
            num_frames=num_frames,
            supersampling=supersampling,
            config=towers,
        )
    except ValueError as error:  # no tower of this seed is worth keeping
        return Sample(None, (Problem(filename, str(error), True),))
    example = tower_example(
        scene_index=index,
        video_filename=filename,
        source_stride=stride,
        video=tower.video,
        segmentation=tower.segmentation,
        segmented_frames=np.ones(len(tower.video), bool),
        colors=[block.color for block in tower.objects],
        inside_camera_view=tower.inside_camera_view,
        fall=tower.fell,
        motion=tower._asdict(),
    )
    return Sample(example)
