"""Extracts the slots that a model sees in every frame of every video, into files that `feature_files` reads."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from data_pipelines import clips
from data_pipelines.claims import claim
from data_pipelines.datasets import Split, dataset_summary, open_split
from data_pipelines.progress import Progress
from experiments.config import DataConfig
from experiments.machine import compiled
from experiments.runs import checkpoints, datasets
from experiments.runs.clips import RULES
from experiments.runs.logs import say
from experiments.runs.trained import Trained
from experiments.vqa import feature_files
from experiments.vqa.feature_files import Arrays
from oddn_jax import VideoModel
from oddn_jax.models import model_name

SHARD_SIZE = 64  # videos; 5 MB of CLEVRER's, and what a killed extraction loses at most
AT_ONCE = 16  # videos, on accelerators; a core has enough with one


class ClipRule(NamedTuple):
    """Which clip of a video is taken, of frames as far apart as in training."""

    name: str  # a key of `runs.clips.RULES`; without the limit of the paper's evaluation
    num_frames: int


def extract(
    found: Trained,
    data: DataConfig,
    folder: pathlib.Path,
    splits: Sequence[str] | None = None,
    limit: int | None = None,
    shard_size: int | None = None,
    clip: ClipRule | None = None,
) -> dict[str, int]:
    """Extracts the features of whole splits, as far as they are not there yet; returns the videos of each split.

    Latents are the posterior's mean. Dynamics of a frame are distilled from it and the frame `data.stride` source
    frames before, the gap of training; those of the first frames are zero. What a video gives hangs on itself alone.

    Source: paper, section 4.3; the gap is our choice, the paper does not tell it.

    Args:
        splits: None takes all that the data set has or, where it is simulated, can have.
        limit: only the first so many videos of each split.
        shard_size: videos of a file; None takes that of the folder, or `SHARD_SIZE`.
        clip: one clip of each video instead, in which the slots begin anew; videos without one are left out.

    Raises:
        FileNotFoundError, ValueError: the data set is missing or does not suit, or the folder holds other features.
    """
    splits = splits or datasets.available_splits(data)
    dataset_dir = datasets.find(data, found.model.config, splits)
    summaries = {split: dataset_summary(dataset_dir, split) for split in splits}
    summary = next(iter(summaries.values()))
    gap = clips.stored_gap(data.stride, summary.source_stride)
    if shard_size is None:
        begun = (folder / feature_files.MANIFEST).exists()
        shard_size = feature_files.read_manifest(folder)["identity"]["shard_size"] if begun else SHARD_SIZE
    opened = {split: open_split(dataset_dir, split) for split in splits}
    taken = {
        split: _choose(of_split, summaries[split].num_frames, gap, clip, limit)
        for split, of_split in opened.items()
    }
    numbers = {split: len(of_split) for split, of_split in taken.items()}
    identity = {
        "model": model_name(type(found.model)),
        "config": dataclasses.asdict(found.model.config),
        "params_sha256": checkpoints.digest(found.params),
        "data": f"{data.name}/{data.config}",
        "simulator": summary.card,
        "stride": data.stride,
        "clip": clip and clip._asdict(),
        "shard_size": shard_size,
    }
    with claim(folder, wait=True):  # two that need the same features: the second finds them made
        stride = data.stride if clip else summary.source_stride
        digest = feature_files.digest_of(
            feature_files.write_manifest(folder, identity, numbers, stride, found)
        )
        look = functools.partial(look_at, found, 1 if clip else gap)
        todo = {}
        for split, number in numbers.items():
            starts = dict(
                zip(
                    feature_files.shard_paths(folder, split, number, shard_size), range(0, number, shard_size)
                )
            )
            todo[split] = {path: start for path, start in starts.items() if not path.exists()}
        remaining = sum(
            min(shard_size, numbers[split] - start) for split, of in todo.items() for start in of.values()
        )
        lengths = [clip.num_frames] if clip else {of_split.num_frames for of_split in summaries.values()}
        say(
            f"{folder}: {sum(numbers.values()) - remaining} videos are there, {remaining} to do, "
            f"{'/'.join(map(str, sorted(lengths)))} frames each"
        )
        progress = Progress("extracting", remaining, "videos")
        try:
            for split, shards in todo.items():
                for path, start in shards.items():
                    of_shard = taken[split][start : start + shard_size]
                    arrays = _extract_shard(look, opened[split], of_shard, progress)
                    feature_files.write_shard(path, arrays, digest)
        finally:
            progress.close()
    return numbers


def look_at(found: Trained, gap: int, videos: np.ndarray, scene_indices: Sequence[int]) -> Arrays:
    """The features of videos u8[v t h w 3].

    Frames `gap` apart make a video of their own, so that its dynamics are those of training: every model of videos can
    be asked in this way.

    Args:
        gap: frames of these videos from one frame of training to the next.
        scene_indices: of the videos; the noise that a model draws hangs on them.

    Raises:
        ValueError: the model has no slots.
    """
    arrays: Arrays = {}
    # One key for all phases: with `share_noise` an object then keeps its slot through all of the video.
    keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(0)))(np.asarray(scene_indices))
    number, num_frames = videos.shape[:2]
    for phase in range(min(gap, num_frames)):
        of_phase = videos[:, phase::gap]
        seen = jax.device_get(_look(found.model, found.params, of_phase, keys))
        if seen["latents"] is None:
            raise ValueError(f"{type(found.model).__name__} has no slots to extract")
        for name, values in seen.items():
            if values is not None:
                first = of_phase.shape[1] - values.shape[1]  # dynamics begin with the second frame
                shape = number, num_frames, *values.shape[2:]
                whole = arrays.setdefault(name, np.zeros(shape, np.float32))
                whole[:, phase::gap][:, first:] = values
    return arrays


def _choose(
    split: Split, num_frames: int, gap: int, clip: ClipRule | None, limit: int | None
) -> list[tuple[int, slice]]:
    """The videos that are looked at, by their place, and their frames."""
    if clip is None:
        return [(place, slice(0, num_frames)) for place in range(len(split.entries))][:limit]
    rule = RULES[clip.name] | {"limit": limit}
    chosen = clips.choose(split.entries, split.source_stride, clip.num_frames, gap, **rule)
    if not chosen:
        raise ValueError(f"{split.label} has no clip of {clip.num_frames} frames by the rule {clip.name!r}")
    span = clips.clip_span(clip.num_frames, gap)
    return [(place, slice(start, start + span, gap)) for place, start in chosen]


@compiled.jit(static_argnums=0)
def _look(model: VideoModel, params: Any, videos: jax.Array, keys: jax.Array) -> dict[str, jax.Array | None]:
    seen = model.look(params, videos / np.float32(255), keys)
    return {"latents": seen.latents, "dynamics": seen.dynamics}


def _extract_shard(
    look: Callable, split: Split, taken: Sequence[tuple[int, slice]], progress: Progress
) -> Arrays:
    at_once = 1 if jax.default_backend() == "cpu" else AT_ONCE
    parts = []
    for start in range(0, len(taken), at_once):
        now = taken[start : start + at_once]
        records = [split.records[place] for place, _ in now]
        videos = np.stack([record["video"][frames] for record, (_, frames) in zip(records, now)])
        indices = np.array([record["scene_index"] for record in records], np.int32)
        filled = np.resize(np.arange(len(now)), at_once)  # one shape, one compilation
        seen = look(videos[filled], indices[filled])
        parts.append({name: values[: len(now)] for name, values in seen.items()} | {"scene_index": indices})
        for _ in now:
            progress.advance()
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
