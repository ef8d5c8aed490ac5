"""One simulated video, or a scene that is not drawn, as an example."""

from typing import Any

import numpy as np

from data_pipelines.simulator import (
    SceneConfig,
    SimulatedStates,
    SimulatedVideo,
    simulate_states,
    simulate_video,
)


def render(
    scenes: SceneConfig, seed: int, index: int, filename: str, *, stride: int, **options: int | None
) -> dict[str, Any]:
    """Simulates and renders one video; see `samples.Render`."""
    result = simulate_video(scenes, seed, stride=stride, **options)
    return {
        **_truth(result, index, filename, stride),
        "video": result.video,
        "segmentation": result.segmentation,
        "segmented_frames": np.ones(len(result.video), bool),
        "has_segmentation": True,
        "image_position": result.image_position,
        "image_velocity": result.image_velocity,
    }


def leave_undrawn(
    scenes: SceneConfig, seed: int, index: int, filename: str, *, stride: int, num_frames: int | None
) -> dict[str, Any]:
    """Simulates one video and draws nothing; see `samples.Render`."""
    result = simulate_states(scenes, seed, stride=stride, num_frames=num_frames)
    return _truth(result, index, filename, stride)


def _truth(
    result: SimulatedVideo | SimulatedStates, index: int, filename: str, stride: int
) -> dict[str, Any]:
    return {
        "scene_index": index,
        "video_filename": filename,
        "source_stride": stride,
        "objects": {
            key: [getattr(scene_object, key) for scene_object in result.objects]
            for key in ("object_id", "color", "material", "shape")
        },
        "location": result.location,
        "velocity": result.velocity,
        "inside_camera_view": result.inside_camera_view,
        "collisions": {
            "frame_id": [collision.frame_id for collision in result.collisions],
            "object_ids": [np.array(collision.object_ids, np.int32) for collision in result.collisions],
            "location": [np.array(collision.location, np.float32) for collision in result.collisions],
        },
    }
