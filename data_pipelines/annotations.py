"""CLEVRER's annotation and object-proposal files as checked records.

Source: the README published with CLEVRER (Yi et al., ICLR 2020) and the files of its project page.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from data_pipelines import rle
from data_pipelines.json_files import read_json

NUM_FRAMES = 128  # of every CLEVRER video
COLORS = ("gray", "red", "blue", "green", "brown", "yellow", "cyan", "purple")
MATERIALS = ("metal", "rubber")
SHAPES = ("sphere", "cylinder", "cube")

Attributes = tuple[
    str, str, str
]  # color, material, shape: unique within a video, links annotations and proposals
T = TypeVar("T")


class Annotation(NamedTuple):
    """What happens in one video. Axis n holds all objects by ascending object_id, also those out of view."""

    scene_index: int
    video_filename: str
    object_id: np.ndarray  # i32[n]
    attributes: tuple[Attributes, ...]  # n of them
    location: np.ndarray  # f32[t n 3] world units
    velocity: np.ndarray  # f32[t n 3] world units per second
    inside_camera_view: np.ndarray  # bool[t n]
    collision_frame: np.ndarray  # i32[c], ascending
    collision_object_ids: np.ndarray  # i32[c 2]
    collision_location: np.ndarray  # f32[c 3] world units


class Segmentation(NamedTuple):
    """Label maps of one video, and the frames of which they are known."""

    labels: np.ndarray  # u8[t h w], 0 where there is no object
    known: np.ndarray  # bool[t]


def read_annotation(path: Path, num_frames: int = NUM_FRAMES) -> Annotation:
    """Reads an annotation file and checks all of it.

    Raises:
        ValueError: the file is not the annotation of a video of `num_frames` frames; one line says why.
    """
    return _read(path, lambda content: _annotation(content, num_frames))


def without_annotation(num_frames: int = NUM_FRAMES) -> Annotation:
    """What is known of a video that has no annotation file: no objects, no collisions."""
    nothing = {"scene_index": -1, "video_filename": "", "object_property": [], "collision": []}
    frames = [{"frame_id": time, "objects": []} for time in range(num_frames)]
    return _annotation(nothing | {"motion_trajectory": frames}, num_frames)


def read_segmentation(
    path: Path,
    num_frames: int,
    height: int,
    width: int,
    crop: bool,
    labels: dict[Attributes, int] | None = None,
) -> Segmentation:
    """Paints the object proposals of a video into label maps u8[t h w] by nearest sampling at pixel centres.

    Proposals are a detector's output. Where masks overlap the surest is on top; of two detections with the same
    attributes in one frame the surer counts. Frames that the file lacks are marked unknown.

    Args:
        path: a proposal file.
        num_frames: frames of the video.
        height: rows of the label maps.
        width: columns of the label maps.
        crop: the masks' centre square is sampled, as `video.read_video` crops.
        labels: label of each object by its attributes. Other detections get the labels that follow, by first
            appearance; so does everything without `labels`.

    Raises:
        ValueError: the file is no proposal file of such a video; one line says why.
    """
    return _read(path, lambda content: _segmentation(content, num_frames, height, width, crop, labels or {}))


def sample_centres(size: int, samples: int, crop_to: int | None = None) -> np.ndarray:
    """Indices i64[samples] of the pixels under the centres of `samples` equal cells of an axis.

    Args:
        size: pixels of the axis.
        samples: cells.
        crop_to: the cells divide the central `crop_to` pixels instead of all.
    """
    extent = size if crop_to is None else crop_to
    return (size - extent) // 2 + ((np.arange(samples) + 0.5) * extent / samples).astype(int)


def _read(path: Path, parse: Callable[[Any], T]) -> T:
    content = read_json(path)
    try:
        return parse(content)
    except KeyError as error:
        raise ValueError(f"{path}: the key {error} is missing") from None
    except (AttributeError, IndexError, OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


def _attributes(entry: dict) -> Attributes:
    attributes = entry["color"], entry["material"], entry["shape"]
    for value, known in zip(attributes, (COLORS, MATERIALS, SHAPES)):
        _require(value in known, f"{value!r} is none of {', '.join(known)}")
    return attributes


def _annotation(content: dict, num_frames: int) -> Annotation:
    properties = sorted(content["object_property"], key=lambda entry: entry["object_id"])
    object_ids = [entry["object_id"] for entry in properties]
    attributes = tuple(_attributes(entry) for entry in properties)
    _require(len(set(object_ids)) == len(object_ids), "an object_id occurs twice in object_property")
    _require(all(0 <= object_id < 255 for object_id in object_ids), "an object_id is not in 0..254")
    _require(len(set(attributes)) == len(attributes), "two objects have the same color, material and shape")

    frames = content["motion_trajectory"]
    _require(
        [frame["frame_id"] for frame in frames] == list(range(num_frames)),
        f"motion_trajectory does not hold the frames 0..{num_frames - 1} in order ({len(frames)} entries)",
    )
    rows = []
    for frame in frames:
        by_id = {entry["object_id"]: entry for entry in frame["objects"]}
        _require(
            sorted(by_id) == object_ids and len(by_id) == len(frame["objects"]),
            f"frame {frame['frame_id']} does not hold each object of object_property once",
        )
        rows.append([by_id[object_id] for object_id in object_ids])

    collisions = sorted(content["collision"], key=lambda entry: entry["frame_id"])
    for entry in collisions:
        pair = entry["object_ids"]
        _require(
            len(set(pair)) == len(pair) == 2 and set(pair) <= set(object_ids),
            f"a collision is not one of two known objects: {pair}",
        )
        _require(0 <= entry["frame_id"] < num_frames, f"a collision lies in frame {entry['frame_id']}")
    return Annotation(
        scene_index=int(content["scene_index"]),
        video_filename=str(content["video_filename"]),
        object_id=np.array(object_ids, np.int32),
        attributes=attributes,
        location=_vectors(rows, "location"),
        velocity=_vectors(rows, "velocity"),
        inside_camera_view=np.array(
            [[_flag(entry["inside_camera_view"]) for entry in row] for row in rows], bool
        ).reshape(num_frames, len(object_ids)),
        collision_frame=np.array([entry["frame_id"] for entry in collisions], np.int32),
        collision_object_ids=np.array([entry["object_ids"] for entry in collisions], np.int32).reshape(-1, 2),
        collision_location=_vectors([collisions], "location")[0],
    )


def _flag(value: Any) -> bool:
    _require(isinstance(value, bool), f"inside_camera_view is {value!r}, neither true nor false")
    return value


def _vectors(rows: list[list[dict]], key: str) -> np.ndarray:
    vectors = [[entry[key] for entry in row] for row in rows]
    _require(
        all(len(vector) == 3 for row in vectors for vector in row), f"a {key} does not have three numbers"
    )
    values = np.array(vectors, np.float32).reshape(len(rows), len(rows[0]), 3)
    _require(bool(np.isfinite(values).all()), f"a {key} is not finite")
    return values


def _segmentation(
    content: dict, num_frames: int, height: int, width: int, crop: bool, labels: dict[Attributes, int]
) -> Segmentation:
    labels = dict(labels)
    painted = np.zeros((num_frames, height, width), np.uint8)
    known = np.zeros(num_frames, bool)
    for frame in content["frames"]:
        time = frame["frame_index"]
        _require(0 <= time < num_frames, f"there is a frame {time}, but the video has {num_frames} frames")
        known[time] = True
        surest = {}
        for entry in sorted(frame["objects"], key=_score):
            attributes = _attributes(entry)
            surest.pop(attributes, None)  # so that the dict keeps ascending scores
            surest[attributes] = entry["mask"]
        for attributes in map(_attributes, frame["objects"]):
            labels.setdefault(attributes, max(labels.values(), default=0) + 1)
            _require(labels[attributes] < 256, "there are more objects than the labels 1 to 255")
        for attributes, mask in surest.items():
            rows, columns = rle.size(mask)
            square = min(rows, columns) if crop else None
            cells = sample_centres(rows, height, square), sample_centres(columns, width, square)
            painted[time][rle.decode(mask, *cells) != 0] = labels[attributes]
    return Segmentation(painted, known)


def _score(entry: dict) -> float:
    score = float(entry.get("score", 1.0))
    _require(math.isfinite(score), f"a score is {score}")
    return score
