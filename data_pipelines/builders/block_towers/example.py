"""One tower of blocks, filmed or simulated, by the names of `features.tower_features`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

UNKNOWN_COLOR = -1  # TFDS's class of no class
_MOTION = {"location": 3, "velocity": 3, "image_position": 2, "image_velocity": 2}


def tower_example(
    *,
    scene_index: int,
    video_filename: str,
    source_stride: int,
    video: np.ndarray,
    segmentation: np.ndarray,
    segmented_frames: np.ndarray,
    colors: Sequence[str | int],
    inside_camera_view: np.ndarray,
    fall: bool,
    motion: dict[str, np.ndarray] | None = None,
) -> dict[str, Any]:
    """Gives a tower the form in which every video is stored.

    Args:
        scene_index: the number of the video.
        video_filename: where the video comes from.
        source_stride: stored frame t is source frame t * source_stride.
        video: u8[t h w 3].
        segmentation: u8[t h w], 0 background, 1 the lowest block.
        segmented_frames: bool[t], of which the segmentation is known.
        colors: of the n blocks from the bottom up, names or `UNKNOWN_COLOR`.
        inside_camera_view: bool[t n].
        fall: whether the tower falls.
        motion: location f32[t n 3], velocity f32[t n 3], image_position f32[t n 2], image_velocity f32[t n 2]; None
            where nobody measured them.
    """
    t, n = inside_camera_view.shape
    if motion is None:
        motion = {name: np.full((t, n, size), np.nan, np.float32) for name, size in _MOTION.items()}
    return {
        "scene_index": scene_index,
        "video_filename": video_filename,
        "source_stride": source_stride,
        "video": video,
        "segmentation": segmentation,
        "segmented_frames": segmented_frames,
        "has_segmentation": bool(segmented_frames.any()),
        "objects": {
            "object_id": list(range(n)),
            "color": list(colors),
            "material": ["rubber"] * n,
            "shape": ["cube"] * n,
        },
        **{name: motion[name] for name in _MOTION},
        "inside_camera_view": inside_camera_view,
        # The blocks of a tower touch from the start; which later touches count, nobody has said.
        "collisions": {"frame_id": [], "object_ids": [], "location": []},
        "fall": fall,
        "num_blocks": n,
    }
