"""One rendered video as a sample."""

import numpy as np

from data_pipelines.samples import Problem, Sample
from data_pipelines.simulator import SceneConfig, simulate_video, video_seed

# Scene indices, and with them the seeds, of one split never reach those of the other.
FIRST_INDEX = {"train": 0, "validation": 500_000}


def render_sample(
    scenes: SceneConfig,
    seed: int,
    index: int,
    height: int,
    width: int,
    stride: int,
    num_frames: int | None,
    supersampling: int,
) -> Sample:
    """Simulates and renders one video; `SimulatedClevrerConfig` says what the arguments are."""
    try:
        result = simulate_video(
            scenes,
            video_seed(seed, index),
            height=height,
            width=width,
            stride=stride,
            num_frames=num_frames,
            supersampling=supersampling,
        )
    except ValueError as error:  # no scene of this seed is worth keeping
        return Sample(None, (Problem(f"video_{index:05d}", str(error), True),))
    example = {
        "scene_index": index,
        "video_filename": f"video_{index:05d}",
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
    return Sample(example)
