"""Tiny files in CLEVRER's own format, and tiny data sets whose pixels tell which video and frame they are."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import tensorflow_datasets as tfds
from pycocotools import mask as coco

from data_pipelines.builders.videos import VideoBuilder, VideoTask
from data_pipelines.features import video_features
from data_pipelines.samples import Sample

HEIGHT, WIDTH, NUM_FRAMES = 320, 480, 128
ATTRIBUTES = [("red", "metal", "cube"), ("blue", "rubber", "sphere"), ("gray", "metal", "cylinder")]
RADIUS = 30


class RawScene(NamedTuple):
    """Three discs, the last of which enters from the left; what their files should be read as."""

    frames: np.ndarray  # u8[t h w 3]
    masks: np.ndarray  # bool[t n h w]
    annotation: dict
    proposal: dict


def _attributes(number: int) -> dict:
    return dict(zip(("color", "material", "shape"), ATTRIBUTES[number]))


def encode_mask(mask: np.ndarray) -> dict:
    """COCO's own encoder, so that ours is not tested with itself."""
    encoded = coco.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode()}


def make_scene(index: int, num_frames: int = NUM_FRAMES) -> RawScene:
    """A scene of three discs that move along straight lines."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    colors = np.array([(200, 40, 40), (40, 60, 210), (90, 90, 90)], np.uint8)
    start = np.array([(100.0, 150.0), (220.0, 330.0), (160.0, -2.0 * RADIUS)])
    speed = np.array([(0.5, 0.7), (-0.6, -0.4), (0.1, 1.2)])
    frames = np.full((num_frames, HEIGHT, WIDTH, 3), 150, np.uint8)
    masks = np.zeros((num_frames, 3, HEIGHT, WIDTH), bool)
    trajectory, proposals = [], []
    for t in range(num_frames):
        centres = start + t * speed
        entries, detections = [], []
        for n, (y, x) in enumerate(centres):
            mask = (rows - y) ** 2 + (columns - x) ** 2 < RADIUS**2
            frames[t][mask] = colors[n]
            masks[t, :, mask] = False
            masks[t, n] = mask
            entries.append(
                {
                    "object_id": n,
                    "location": [x / 60 - 4, y / 60 - 2.6, 0.2],
                    "orientation": [0.0, 0.0, 0.0],
                    "velocity": [speed[n, 1], speed[n, 0], 0.0],
                    "angular_velocity": [0.0, 0.0, 0.0],
                    "inside_camera_view": bool(mask.any()),
                }
            )
            if mask.any():
                detections.append(
                    {
                        "mask": encode_mask(mask),
                        "video_index": index,
                        "frame_index": t,
                        **_attributes(n),
                        "score": 0.9 + 0.01 * n,
                    }
                )
        # Neither file promises an order of objects.
        trajectory.append({"frame_id": t, "objects": entries[::-1]})
        proposals.append({"frame_index": t, "objects": detections[::-1]})
    filename = f"video_{index:05d}.mp4"
    annotation = {
        "scene_index": index,
        "video_filename": filename,
        "object_property": [{"object_id": n, **_attributes(n)} for n in (1, 0, 2)],
        "motion_trajectory": trajectory,
        "collision": [
            {"location": [0.5, 0.25, 0.2], "object_ids": [2, 0], "frame_id": num_frames - 8},
            {"location": [0.0, 1.0, 0.2], "object_ids": [0, 1], "frame_id": num_frames // 4},
        ],
    }
    proposal = {"video_index": index, "frames": proposals, "video_filename": filename}
    return RawScene(frames, masks, annotation, proposal)


def write_mp4(path: Path, frames: np.ndarray) -> None:
    """H.264 as CLEVRER's, at 25 frames a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "12"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def write_json(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


class HandmadeVideo(NamedTuple):
    """What a hand-made record says; its pixels are given by its position, its frames and `SOURCE_STRIDE`."""

    num_frames: int
    inside_camera_view: np.ndarray  # bool[t n]
    collision_frames: tuple[int, ...] = ()
    known_frames: int = 1000


class Handmade(VideoBuilder, skip_registration=True):
    """A data set written by the real writer from `HandmadeVideo`s."""

    name = "handmade"
    MANUAL_DOWNLOAD_INSTRUCTIONS = None
    videos: dict[str, list[HandmadeVideo]]

    def _info(self):
        config = self.builder_config
        features = video_features(config.height, config.width)
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

    def _tasks(self, raw_dir):
        return {
            split: [
                VideoTask(functools.partial(_handmade_sample, number, position, video, self.builder_config))
                for position, video in enumerate(videos)
            ]
            for number, (split, videos) in enumerate(self.videos.items())
        }

    def _card(self, raw_dir):
        return None


def _handmade_sample(number: int, position: int, video: HandmadeVideo, config) -> Sample:
    t, n = video.inside_camera_view.shape
    assert t == video.num_frames
    frames = np.zeros((t, config.height, config.width, 3), np.uint8)
    frames[..., 0] = position
    frames[..., 1] = np.arange(t)[:, None, None]
    places = np.broadcast_to(np.arange(t)[:, None, None] * np.array([1.0, 2.0]), (t, n, 2))
    example = {
        "scene_index": 1000 * number + 100 + position,
        "video_filename": f"video_{position}",
        "source_stride": config.source_stride,
        "video": frames,
        "segmentation": frames[..., 1],
        "segmented_frames": np.arange(t) < video.known_frames,
        "has_segmentation": True,
        "objects": {
            "object_id": list(range(n)),
            "color": ["red"] * n,
            "material": ["metal"] * n,
            "shape": ["cube"] * n,
        },
        "location": np.zeros((t, n, 3), np.float32),
        "velocity": np.zeros((t, n, 3), np.float32),
        "inside_camera_view": video.inside_camera_view,
        "image_position": places.astype(np.float32),
        "image_velocity": np.broadcast_to(np.float32([1, 2]), (t, n, 2)),
        "collisions": {
            "frame_id": list(video.collision_frames),
            "object_ids": [np.int32([0, 1])] * len(video.collision_frames),
            "location": [np.zeros(3, np.float32)] * len(video.collision_frames),
        },
    }
    return Sample(example)


@dataclasses.dataclass
class _Config(tfds.core.BuilderConfig):
    height: int = 4
    width: int = 6
    source_stride: int = 1


def write_dataset(data_dir: Path, videos: dict[str, list[HandmadeVideo]], source_stride: int = 1) -> Path:
    """Writes hand-made videos by split as a data set and gives its folder."""
    config = _Config(name="tiny", source_stride=source_stride)
    builder = Handmade(data_dir=str(data_dir), config=config, file_format="array_record")
    builder.videos = videos
    settings = tfds.download.DownloadConfig(try_download_gcs=False)
    builder.download_and_prepare(download_dir=data_dir / "downloads", download_config=settings)
    return Path(builder.data_dir)
