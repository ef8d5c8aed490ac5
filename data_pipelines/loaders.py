"""Batches of clips from a built data set, with Grain.

Training batches are a function of the seed and the step alone: they can be resumed at any step, and split over any
number of processes without changing a sample.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grain
import numpy as np

from data_pipelines import clips as clip_rules
from data_pipelines.datasets import DatasetSummary, Split, dataset_summary, open_split
from data_pipelines.seeds import check_seed

__all__ = ["Batch", "DatasetSummary", "dataset_summary", "evaluation_batches", "training_batches"]

Batch = dict[str, np.ndarray]


def training_batches(
    dataset_dir: str | Path,
    split: str,
    *,
    num_frames: int,
    stride: int,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    clips: str = "random",
    shard_index: int = 0,
    num_shards: int = 1,
    num_threads: int = 4,
) -> Iterator[Batch]:
    """Endless batches of clips: every epoch takes each video once, in another order, at another start.

    Videos that are too short for a clip are left out.

    The batch of a step holds the same samples whatever `start_step` and `num_shards`; shard i of n gets every n-th of
    them. Close the iterator (`close()`) to stop its threads early.

    Args:
        dataset_dir: the folder of a data set, as `build.dataset_path` names it.
        split: "train", "validation", ...
        num_frames: frames of a clip.
        stride: gap between two frames of a clip, in source frames.
        batch_size: clips of a batch over all shards; `num_shards` must divide it.
        seed: 0 to 4294967295.
        start_step: the first batch is that of this step.
        clips: "random" for a uniform start, "collision" for a uniform start among those where a collision first shows
            in the clip's third frame or later (videos without one are left out).
        shard_index: this process.
        num_shards: processes that share the batches.
        num_threads: threads that read and decompress.

    Returns:
        An iterator of dicts: video f32[b t h w 3] in [0, 1], segmentation u8[b t h w], has_segmentation bool[b] (known
        in all frames of the clip), example_id i64[b] (position of the record in the split), scene_index i32[b],
        start_frame i32[b] (source frame), stride i32[b] (source frames).

    Raises:
        FileNotFoundError: the folder holds no data set.
        ValueError: unknown split or clips, clips longer than the videos, a stride that is not stored, no clip at all,
            a batch that the shards cannot share, a seed out of range.
    """
    check_seed("seed", seed)
    opened = open_split(dataset_dir, split)
    gap = _checked_gap(opened, num_frames, stride)
    local_batch_size = _local_batch_size(batch_size, shard_index, num_shards)
    if clips == "random":
        starts = [clip_rules.clip_starts(entry["num_frames"], num_frames, gap) for entry in opened.entries]
    elif clips == "collision":
        starts = [
            clip_rules.collision_starts(entry["collision_frames"], entry["num_frames"], num_frames, gap)
            for entry in opened.entries
        ]
    else:
        raise ValueError(f'clips must be "random" or "collision", not {clips!r}')
    usable = [position for position, of_video in enumerate(starts) if len(of_video)]
    if not usable:
        raise ValueError(
            f"{opened.label} has no clip of {num_frames} frames at stride {stride} with a collision from its third "
            'frame on; take clips="random" or a data set with collisions'
        )
    dataset = (
        grain.MapDataset.source(usable)
        .seed(seed)
        .shuffle()
        .repeat()
        # Before the slice: the randomness of a sample belongs to its position in the whole stream.
        .random_map(_RandomClip(opened, starts, num_frames, gap))[shard_index::num_shards]
        .batch(local_batch_size, drop_remainder=True)[start_step:]
    )
    return iter(dataset.to_iter_dataset(_read_options(num_threads)))


def evaluation_batches(
    dataset_dir: str | Path,
    split: str,
    *,
    num_frames: int,
    stride: int,
    batch_size: int,
    selection: str = "first",
    num_objects: int | None = None,
    min_source_frames: int = 40,
    limit: int | None = None,
    shard_index: int = 0,
    num_shards: int = 1,
    num_threads: int = 4,
) -> Iterator[Batch]:
    """One clip of each eligible video, in order; the last batch may be short.

    The paper's evaluation is `selection="all_visible", num_objects=6, limit=1000` with 10 frames at stride 4. Shard i
    of n gets the clips i, i + n, ...; one shard may have a batch more than another.

    Args:
        dataset_dir: the folder of a data set, as `build.dataset_path` names it.
        split: "train", "validation", ...
        num_frames: frames of a clip.
        stride: gap between two frames of a clip, in source frames.
        batch_size: clips of a batch over all shards; `num_shards` must divide it.
        selection: "first" for the clip that starts with the video; "all_visible" for the clip that opens the first
            window in which all objects are in view; "collision" for the first clip in which a collision first shows in
            the third frame or later.
        num_objects: only videos of so many objects.
        min_source_frames: with "all_visible", shorter windows are discarded.
        limit: only the first so many eligible videos.
        shard_index: this process.
        num_shards: processes that share the batches.
        num_threads: threads that read and decompress.

    Returns:
        An iterator of dicts as `training_batches`, and image_position f32[b t n 2] (pixels, x then y; NaN where
        unknown, out of view or padding), image_velocity f32[b t n 2] (pixels per clip frame, likewise), object_id
        i32[b n] padded with -1, collision_frame i32[b c] (the first clip frame at or after the touch) and
        collision_places i32[b c 2] (which two of the n objects touch), both padded with -1. n and c are the most that a
        video of the split has, at least 1.

    Raises:
        FileNotFoundError: the folder holds no data set.
        ValueError: as `training_batches`.
    """
    opened = open_split(dataset_dir, split)
    gap = _checked_gap(opened, num_frames, stride)
    local_batch_size = _local_batch_size(batch_size, shard_index, num_shards)
    chosen = clip_rules.choose(
        opened.entries,
        opened.source_stride,
        num_frames,
        gap,
        selection,
        num_objects=num_objects,
        min_source_frames=min_source_frames,
        limit=limit,
    )
    if not chosen:
        objects = "" if num_objects is None else f" with {num_objects} objects"
        raise ValueError(
            f'{opened.label} has no "{selection}" clip of {num_frames} frames at stride {stride}{objects}'
        )
    dataset = (
        grain.MapDataset.source(chosen)[shard_index::num_shards]
        .map(_EvaluationClip(opened, num_frames, gap))
        .batch(local_batch_size)
    )
    return iter(dataset.to_iter_dataset(_read_options(num_threads)))


class _RandomClip(grain.transforms.RandomMap):
    def __init__(self, split: Split, starts: list[np.ndarray], num_frames: int, gap: int):
        self._split, self._starts, self._num_frames, self._gap = split, starts, num_frames, gap

    def random_map(self, element: int, rng: np.random.Generator) -> Batch:
        start = int(rng.choice(self._starts[element]))
        record = self._split.records[element]
        return _clip(record, element, start, self._num_frames, self._gap)


class _EvaluationClip(grain.transforms.Map):
    def __init__(self, split: Split, num_frames: int, gap: int):
        self._split, self._num_frames, self._gap = split, num_frames, gap
        self._num_objects = max(1, *(entry["num_objects"] for entry in split.entries))
        self._num_collisions = max(1, *(len(entry["collision_frames"]) for entry in split.entries))

    def map(self, element: tuple[int, int]) -> Batch:
        position, start = element
        record = self._split.records[position]
        taken = _frames(start, self._num_frames, self._gap)
        hidden = ~record["inside_camera_view"][taken][..., None]
        image_position = np.where(hidden, np.nan, record["image_position"][taken])
        image_velocity = np.where(hidden, np.nan, record["image_velocity"][taken] * self._gap)
        object_id = np.asarray(record["objects"]["object_id"])
        touches = np.asarray(record["collisions"]["frame_id"]), start, self._num_frames, self._gap
        pairs = np.reshape(record["collisions"]["object_ids"], (-1, 2))[
            clip_rules.collisions_in_clip(*touches)
        ]
        places = clip_rules.places_of(pairs, object_id)
        collision_frames = clip_rules.collision_clip_frames(*touches)
        return _clip(record, position, start, self._num_frames, self._gap) | {
            "image_position": _padded(image_position, 1, self._num_objects, np.nan).astype(np.float32),
            "image_velocity": _padded(image_velocity, 1, self._num_objects, np.nan).astype(np.float32),
            "object_id": _padded(object_id, 0, self._num_objects, -1).astype(np.int32),
            "collision_frame": _padded(collision_frames, 0, self._num_collisions, -1).astype(np.int32),
            "collision_places": _padded(places, 0, self._num_collisions, -1).astype(np.int32),
        }


def _clip(record: dict[str, Any], position: int, start: int, num_frames: int, gap: int) -> Batch:
    taken = _frames(start, num_frames, gap)
    source_stride = record["source_stride"]
    return {
        "video": record["video"][taken].astype(np.float32) / np.float32(255),
        "segmentation": record["segmentation"][taken].copy(),  # a view would keep the whole video alive
        "has_segmentation": record["segmented_frames"][taken].all(),
        "example_id": np.int64(position),
        "scene_index": np.int32(record["scene_index"]),
        "start_frame": np.int32(start * source_stride),
        "stride": np.int32(gap * source_stride),
    }


def _frames(start: int, num_frames: int, gap: int) -> slice:
    return slice(start, start + clip_rules.clip_span(num_frames, gap), gap)


def _padded(values: np.ndarray, axis: int, size: int, value: float) -> np.ndarray:
    widths = [(0, 0)] * np.ndim(values)
    widths[axis] = (0, size - np.shape(values)[axis])
    return np.pad(values, widths, constant_values=value)


def _checked_gap(split: Split, num_frames: int, stride: int) -> int:
    if num_frames < 1:
        raise ValueError(f"num_frames must be at least 1, not {num_frames}")
    gap = clip_rules.stored_gap(stride, split.source_stride)
    longest = max(entry["num_frames"] for entry in split.entries)
    if clip_rules.clip_span(num_frames, gap) > longest:
        raise ValueError(
            f"{split.label} has videos of {longest} stored frames (every {split.source_stride}. source frame), too "
            f"short for clips of {num_frames} frames at stride {stride}: take shorter clips, a smaller stride, or "
            "build longer videos"
        )
    return gap


def _local_batch_size(batch_size: int, shard_index: int, num_shards: int) -> int:
    if not 0 <= shard_index < num_shards:
        raise ValueError(f"shard_index {shard_index} is not in 0..{num_shards - 1}")
    if batch_size < 1 or batch_size % num_shards:
        raise ValueError(f"a batch of {batch_size} cannot be shared by {num_shards} shards")
    return batch_size // num_shards


def _read_options(num_threads: int) -> grain.ReadOptions:
    return grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=4 * max(1, num_threads))
