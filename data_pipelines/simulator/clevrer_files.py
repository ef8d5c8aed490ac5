"""CLEVRER's own tree of files: videos, annotations and object proposals.

Source: the README of CLEVRER and published reports on its files. The key of collisions is `collision`; orientations
are Euler angles in radians and velocities world units per second, which could not be checked against real files.
Real proposals come from a detector; these are the renderer's exact masks, with score 1.
"""

import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipelines import rle
from data_pipelines.seeds import check_seed
from data_pipelines.simulator.config import FRAMES_PER_SECOND, SceneConfig, video_seed
from data_pipelines.simulator.records import SceneObject, Trajectory
from data_pipelines.simulator.videos import generate_scene, render, visible_collisions
from data_pipelines.whole_files import whole_file

SPLITS = {"train": range(10_000), "validation": range(10_000, 15_000), "test": range(15_000, 20_000)}
CONSTANT_RATE_FACTOR = 18


class VideoFiles(NamedTuple):
    """Where the files of one video lie."""

    proposal: Path
    annotation: Path | None  # the test split has none
    video: Path  # written last: where it is, the others are


@dataclasses.dataclass(frozen=True)
class ClevrerWriter:
    """Writes the videos of one split; a video's bytes depend on these fields and its index alone.

    Raises:
        ValueError: a field is out of range.
    """

    root: Path
    split: str
    config: SceneConfig
    seed: int
    height: int  # pixels, even
    width: int
    num_frames: int  # source frames, from the first
    supersampling: int

    def __post_init__(self):
        check_seed("seed", self.seed)
        if self.supersampling < 1:
            raise ValueError(f"need supersampling >= 1; got {self.supersampling}")
        if self.height % 2 or self.width % 2 or min(self.height, self.width) < 2:
            raise ValueError(f"H.264 needs an even height and width; got {self.height} and {self.width}")
        if not 1 <= self.num_frames <= self.config.num_frames:
            raise ValueError(f"these scenes have 1 to {self.config.num_frames} frames; got {self.num_frames}")

    def is_finished(self, index: int) -> bool:
        return all(path.exists() for path in video_files(self.root, self.split, index) if path)

    def write(self, index: int) -> int:
        """Simulates, draws and writes one video; returns its bytes on disk."""
        scene, trajectory = generate_scene(self.config, video_seed(self.seed, index))
        video, segmentation = render(
            scene,
            trajectory,
            np.arange(self.num_frames),
            height=self.height,
            width=self.width,
            supersampling=self.supersampling,
        )
        files = video_files(self.root, self.split, index)
        _write_json(files.proposal, proposal(index, scene.objects, segmentation))
        if files.annotation:
            _write_json(files.annotation, annotation(index, scene.objects, trajectory, self.num_frames))
        with whole_file(files.video) as path:
            write_mp4(path, video)
        return sum(path.stat().st_size for path in files if path)

    def record(self, index: int, size: int) -> int:
        return size


def video_files(root: Path, split: str, index: int) -> VideoFiles:
    """The paths that CLEVRER gives to a video's files."""
    low = index // 1000 * 1000
    group = f"{low:05d}-{low + 1000:05d}"
    return VideoFiles(
        proposal=root / "derender_proposals" / f"proposal_{index:05d}.json",
        annotation=None
        if split == "test"
        else root / "annotations" / split / f"annotation_{group}" / f"annotation_{index:05d}.json",
        video=root / "videos" / split / f"video_{group}" / f"video_{index:05d}.mp4",
    )


def annotation(index: int, objects: tuple[SceneObject, ...], trajectory: Trajectory, num_frames: int) -> dict:
    """CLEVRER's annotation of the first `num_frames` source frames."""
    angles = euler_angles(trajectory.orientation)

    def state(frame: int, i: int) -> dict:
        return {
            "object_id": i,
            "location": trajectory.location[frame, i].tolist(),
            "orientation": angles[frame, i].tolist(),
            "velocity": trajectory.velocity[frame, i].tolist(),
            "angular_velocity": trajectory.angular_velocity[frame, i].tolist(),
            "inside_camera_view": bool(trajectory.inside_camera_view[frame, i]),
        }

    return {
        "scene_index": index,
        "video_filename": f"video_{index:05d}.mp4",
        "object_property": [{"object_id": thing.object_id, **_attributes(thing)} for thing in objects],
        "motion_trajectory": [
            {"frame_id": frame, "objects": [state(frame, i) for i in range(len(objects))]}
            for frame in range(num_frames)
        ],
        "collision": [
            {
                "object_ids": list(collision.object_ids),
                "frame_id": collision.frame_id,
                "location": list(collision.location),
            }
            for collision in visible_collisions(trajectory, num_frames)
        ],
    }


def proposal(index: int, objects: tuple[SceneObject, ...], segmentation: np.ndarray) -> dict:
    """CLEVRER's object proposals from masks u8[t h w]: one entry per object and frame that shows it."""

    def detections(frame: int) -> list[dict]:
        mask = segmentation[frame]
        return [
            {
                "mask": rle.encode(mask == thing.object_id + 1),
                "video_index": index,
                "frame_index": frame,
                **_attributes(thing),
                "score": 1.0,
            }
            for thing in objects
            if (mask == thing.object_id + 1).any()
        ]

    return {
        "video_index": index,
        "video_filename": f"video_{index:05d}.mp4",
        "frames": [
            {"frame_index": frame, "objects": detections(frame)} for frame in range(len(segmentation))
        ],
    }


def euler_angles(quaternions: np.ndarray) -> np.ndarray:
    """Unit quaternions f64[... 4] (w, x, y, z) to rotations f64[... 3] about x, then y, then z, in radians."""
    w, x, y, z = np.moveaxis(quaternions, -1, 0)
    return np.stack(
        [
            np.arctan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y)),
            np.arcsin(np.clip(2 * (w * y - z * x), -1, 1)),
            np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)),
        ],
        axis=-1,
    )


def write_mp4(path: Path, video: np.ndarray) -> None:
    """Writes u8[t h w 3] as H.264, yuv420p, 25 frames per second; one thread, so that equal input is equal bytes."""
    import av

    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND)
        stream.height, stream.width = video.shape[1:3]
        stream.pix_fmt = "yuv420p"
        # Measured: with its macroblock tree, x264 gives other bytes from call to call, even on one thread.
        stream.options = {"crf": str(CONSTANT_RATE_FACTOR), "preset": "medium", "mbtree": "0"}
        stream.codec_context.thread_count = 1
        for frame in video:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _attributes(thing: SceneObject) -> dict:
    return {"color": thing.color, "material": thing.material, "shape": thing.shape}


def _write_json(path: Path, content: dict) -> None:
    with whole_file(path) as partial:
        partial.write_text(json.dumps(content))
