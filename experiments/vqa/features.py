"""What a reasoner sees of each video: slots that a model extracted, the true objects, or nothing."""

import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from data_pipelines.annotations import COLORS, MATERIALS, SHAPES
from data_pipelines.datasets import open_split
from experiments.vqa import feature_files
from experiments.vqa.feature_files import Arrays

SMALLEST_DEVIATION = 1e-6  # what hardly varies is left as it is


class VideoFeatures(NamedTuple):
    """Videos v of one split."""

    slots: np.ndarray  # f32[v t k d]
    scene_index: np.ndarray  # i32[v]


def extracted(
    folder: pathlib.Path, split: str, which: str, extend: Callable[[Arrays], Arrays] | None = None
) -> VideoFeatures:
    """Reads "latents", "dynamics" or "both" (one after the other) of a split, as `extraction` wrote them.

    Args:
        extend: appends frames to the arrays, such as `rollouts.append`.

    Raises:
        FileNotFoundError: there are none, or not all of them yet; says which command makes them.
        ValueError: they are damaged, of different models, or the model has no such features.
    """
    arrays = feature_files.read_split(folder, split)
    if extend is not None:
        arrays = extend(arrays)
    names = ("latents", "dynamics") if which == "both" else (which,)
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(f"{folder}: the model has no {missing[0]}: take another config.features")
    return VideoFeatures(np.concatenate([arrays[name] for name in names], -1), arrays["scene_index"])


def truth(dataset_dir: pathlib.Path, split: str) -> VideoFeatures:
    """The true objects of each frame: where on the floor, how fast there, whether in view, and what they are.

    18 numbers: 2 (world units), 2, 1, and 8 colours, 2 materials and 3 shapes as zeros and a one. An object that is not
    there is all zeros. Heights are left out: they hardly differ, and `Standardization` would make noise of that as
    large as the rest. Source: our choice, an upper reference for what a model extracts.

    Raises:
        ValueError: the split has no annotations.
    """
    opened = open_split(dataset_dir, split)
    num_slots = max(entry["num_objects"] for entry in opened.entries)
    num_frames = min(entry["num_frames"] for entry in opened.entries)
    if num_slots == 0:
        raise ValueError(f"{opened.label} has no annotations: config.features=truth needs them")
    size = 5 + len(COLORS) + len(MATERIALS) + len(SHAPES)
    slots = np.zeros((len(opened.entries), num_frames, num_slots, size), np.float32)
    scene_index = np.zeros(len(opened.entries), np.int32)
    for place in range(len(opened.entries)):
        record = opened.records[place]
        scene_index[place] = record["scene_index"]
        objects = record["objects"]
        attributes = np.stack([np.asarray(objects[name], int) for name in ("color", "material", "shape")], -1)
        slots[place, :, : len(attributes)] = true_numbers(
            record["location"][:num_frames, :, :2],
            record["velocity"][:num_frames, :, :2],
            record["inside_camera_view"][:num_frames],
            attributes,
        )
    return VideoFeatures(slots, scene_index)


def true_numbers(
    location: np.ndarray, velocity: np.ndarray, in_view: np.ndarray, attributes: np.ndarray
) -> np.ndarray:
    """The numbers of `truth`, f32[t n 18], of objects: where f[t n 2], how fast f[t n 2], whether in view [t n], and
    what they are, i[n 3], places in COLORS, MATERIALS and SHAPES."""
    kinds = zip((COLORS, MATERIALS, SHAPES), attributes.T)
    known = np.concatenate([np.eye(len(names), dtype=np.float32)[column] for names, column in kinds], -1)
    told = np.broadcast_to(known, (len(location), *known.shape))
    return np.concatenate([location, velocity, in_view[..., None], told], -1, dtype=np.float32)


def pad_slots(features: VideoFeatures, num_slots: int) -> VideoFeatures:
    """Adds empty slots up to a number: true objects are fewer in one split than in the other."""
    missing = num_slots - features.slots.shape[2]
    return features._replace(slots=np.pad(features.slots, [(0, 0), (0, 0), (0, missing), (0, 0)]))


class Standardization(NamedTuple):
    """Brings each number of a slot to zero mean and unit deviation over the training videos.

    Source: our choice; latents and dynamics are of unlike scales.
    """

    mean: np.ndarray  # f32[d]
    scale: np.ndarray  # f32[d], one over the deviation; 1 for what hardly varies

    @classmethod
    def of(cls, train: VideoFeatures) -> "Standardization":
        """That of the training videos."""
        mean = train.slots.mean((0, 1, 2), dtype=np.float64)
        deviation = train.slots.std((0, 1, 2), dtype=np.float64)
        scale = np.where(deviation > SMALLEST_DEVIATION, 1 / np.maximum(deviation, SMALLEST_DEVIATION), 1.0)
        return cls(mean.astype(np.float32), scale.astype(np.float32))

    def __call__(self, slots: np.ndarray) -> np.ndarray:
        """Slots f32[*b d] as a reasoner reads them."""
        return (slots - self.mean) * self.scale
