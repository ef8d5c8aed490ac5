"""One rendered video as an example."""

from typing import Any

import numpy as np

from data_pipelines.simulator import SceneConfig, simulate_video


def render(
    scenes: SceneConfig, seed: int, index: int, filename: str, *, stride: int, **options: int | None
) -> dict[str, Any]:
    """Simulates and renders one video; see `samples.Render`."""
    result = simulate_video(scenes, seed, stride=stride, **options)
    return {
        "scene_index": index,
        "video_filename": filename,
        "source_stride": stride,
        "video": result.video,
        "segmentation": result.segmentation,
        "segmented_frames": np.ones(len(result.video), bool),
        "has_segmentation": True,
        "objects": {
            key: [getattr(scene_object, key) for scene_object in result.objects]
            for key in ("object_id", "color", "material", "shape")
        },
        "location": result.location,
        "velocity": result.velocity,
        "inside_camera_view": result.inside_camera_view,
        "image_position": result.image_position,
        "image_velocity": result.image_velocity,
        "collisions": {
            "frame_id": [collision.frame_id for collision in result.collisions],
            "object_ids": [np.array(collision.object_ids, np.int32) for collision in result.collisions],
            "location": [np.array(collision.location, np.float32) for collision in result.collisions],
        },
    }
