"""What is known of a scene when questions about its video are answered.

CLEVRER's annotations tell of the video alone; the simulator also knows what comes after it, and what would have come
had an object not been there.
"""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipelines.annotations import COLORS, MATERIALS, SHAPES, Annotation, Attributes
from data_pipelines.json_files import read_json
from data_pipelines.simulator.records import SceneObject, Trajectory

MOVING_SPEED = (
    0.06  # world units per second along the floor. Source: our choice; objects at rest are below 1e-5.
)

Pair = tuple[int, int]  # two objects, the smaller number first


class SceneTruth(NamedTuple):
    """Source frames t of the video and, where known, those after it; objects n. Collisions are those seen in 3:2."""

    attributes: tuple[Attributes, ...]  # color, material, shape of object 0, 1, ...
    num_frames: int  # of the video
    inside_camera_view: np.ndarray  # bool[t n]
    moving: np.ndarray  # bool[t n]
    collisions: tuple[tuple[int, Pair], ...]  # frame and objects, by frame
    # By object: the pairs that would collide during the video without it. Empty where that is unknown.
    counterfactual: tuple[frozenset[Pair], ...]


def trajectory_truth(
    objects: Sequence[SceneObject],
    trajectory: Trajectory,
    counterfactual_trajectories: Sequence[Trajectory],
    num_frames: int,
) -> SceneTruth:
    """The truth of a simulated scene.

    Args:
        trajectory: also of the frames after the video.
        counterfactual_trajectories: of the same scene without object 0, 1, ...; at least the video's frames.
        num_frames: of the video.
    """
    return SceneTruth(
        tuple((thing.color, thing.material, thing.shape) for thing in objects),
        num_frames,
        trajectory.inside_camera_view,
        np.linalg.norm(trajectory.velocity[..., :2], axis=-1) > MOVING_SPEED,
        _seen_collisions(trajectory),
        tuple(
            frozenset(pair for frame, pair in _seen_collisions(without) if frame < num_frames)
            for without in counterfactual_trajectories
        ),
    )


def annotation_truth(annotation: Annotation) -> SceneTruth:
    """The truth of the video that an annotation tells; enough for descriptive and explanatory questions.

    Objects are numbered by their place in the annotation, which is ascending object_id.
    """
    place = {int(object_id): i for i, object_id in enumerate(annotation.object_id)}
    return SceneTruth(
        annotation.attributes,
        len(annotation.location),
        annotation.inside_camera_view,
        np.linalg.norm(annotation.velocity[..., :2], axis=-1) > MOVING_SPEED,
        tuple(
            (int(frame), _pair(place[int(a)], place[int(b)]))
            for frame, (a, b) in zip(annotation.collision_frame, annotation.collision_object_ids)
        ),
        (),
    )


def write_truth(path: Path, truth: SceneTruth) -> None:
    """Writes a truth as JSON; flags over time are written as the frames at which they change."""
    content = {
        "attributes": truth.attributes,
        "num_frames": truth.num_frames,
        "num_known_frames": len(truth.moving),
        "inside_camera_view": [_changes(flags) for flags in truth.inside_camera_view.T],
        "moving": [_changes(flags) for flags in truth.moving.T],
        "collisions": truth.collisions,
        "counterfactual": [sorted(pairs) for pairs in truth.counterfactual],
    }
    path.write_text(json.dumps(content) + "\n")


def read_truth(path: Path) -> SceneTruth:
    """Reads what `write_truth` wrote.

    Raises:
        ValueError: the file is not such a truth; one line says so.
    """
    try:
        content = read_json(path)
        frames = content["num_known_frames"]
        attributes = tuple(tuple(of_object) for of_object in content["attributes"])
        for of_object in attributes:
            color, material, shape = of_object
            if color not in COLORS or material not in MATERIALS or shape not in SHAPES:
                raise ValueError(f"unknown attributes {of_object}")
        return SceneTruth(
            attributes,
            content["num_frames"],
            np.stack([_flags(changes, frames) for changes in content["inside_camera_view"]], axis=1),
            np.stack([_flags(changes, frames) for changes in content["moving"]], axis=1),
            tuple((frame, (a, b)) for frame, (a, b) in content["collisions"]),
            tuple(frozenset((a, b) for a, b in pairs) for pairs in content["counterfactual"]),
        )
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not the truth of a simulated scene ({error}): remove it") from None


def seen_objects(truth: SceneTruth) -> list[int]:
    """The objects that are in view at some time of the video."""
    return [int(i) for i in np.flatnonzero(truth.inside_camera_view[: truth.num_frames].any(axis=0))]


def seen_pairs(truth: SceneTruth) -> list[Pair]:
    """All pairs of `seen_objects`."""
    return list(itertools.combinations(seen_objects(truth), 2))


def _seen_collisions(trajectory: Trajectory) -> tuple[tuple[int, Pair], ...]:
    return tuple(
        (collision.frame_id, _pair(*collision.object_ids))
        for collision in trajectory.collisions
        if trajectory.inside_camera_view[collision.frame_id, list(collision.object_ids)].all()
    )


def _pair(a: int, b: int) -> Pair:
    return min(a, b), max(a, b)


def _changes(flags: np.ndarray) -> list[int]:
    return np.flatnonzero(np.diff(flags, prepend=False)).tolist()


def _flags(changes: list[int], frames: int) -> np.ndarray:
    changed = np.zeros(frames, int)
    changed[changes] = 1
    return np.cumsum(changed) % 2 == 1
