"""One rendered tower as an example."""

from typing import Any

import numpy as np

from data_pipelines.builders.block_towers.example import tower_example
from data_pipelines.simulator import TowerConfig, simulate_tower


def render(
    towers: TowerConfig, seed: int, index: int, filename: str, *, stride: int, **options: int | None
) -> dict[str, Any]:
    """Simulates and renders one tower; see `samples.Render`."""
    tower = simulate_tower(seed, stride=stride, config=towers, **options)
    return tower_example(
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
