"""The clips that figures show, what a model makes of them, and what to watch in them."""

import argparse
import contextlib
import itertools
import pathlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
import numpy as np

from data_pipelines import clips as clip_rules
from data_pipelines import loaders
from data_pipelines.datasets import open_split
from experiments.pictures import analysis
from experiments.pictures.analysis import Observation
from experiments.runs import datasets
from experiments.runs.clips import Clips, by_rule, count_clips, open_batches
from experiments.runs.trained import Trained, choose_data

BATCH_SIZE = 4  # clips at a time: one compilation serves all figures


class Source(NamedTuple):
    """The clips that are drawn."""

    path: pathlib.Path
    name: str
    split: str
    num_frames: int
    stride: int  # source frames
    simulated: bool
    rule: str  # a key of `runs.clips.RULES`


class Clip(NamedTuple):
    """One clip and what the model makes of it, slots aligned."""

    batch: Mapping[str, np.ndarray]  # of `evaluation_batches`, without the batch axis
    seen: Observation


class Collision(NamedTuple):
    """Which slots to watch in a clip, and why."""

    pair: tuple[int, int]
    frame: int | None  # of the clip, where the touch first shows
    reason: str


def find_clips(trained: Trained, options: argparse.Namespace) -> Source:
    """Finds the data set and the longest useful clips in it; simulates it where that is possible and it is missing.

    Raises:
        FileNotFoundError, ValueError: there is none that suits the model.
    """
    model, data = trained.model, choose_data(trained, options)
    path, split = datasets.find_split(data, model.config, options.split)
    summary = loaders.dataset_summary(path, split)
    available = datasets.frames_available(summary, data.stride)
    num_frames = min(model.num_context_frames + model.num_rollout_steps, available)
    if num_frames <= model.num_context_frames:
        raise ValueError(
            f"{path} has videos of {available} frames at stride {data.stride}: none is left to predict"
        )
    clips = by_rule(Clips(path, split, "paper", num_frames, data.stride), options.clips)
    if not count_clips(clips):
        raise ValueError(
            f"{path} ({split}) has no clip of {num_frames} frames by the rule --clips={clips.rule}"
        )
    name = f"{summary.name}/{summary.config}"
    return Source(path, name, split, num_frames, data.stride, summary.card is not None, clips.rule)


def observed_clips(trained: Trained, source: Source, limit: int) -> Iterator[Clip]:
    """The clips of a split, and what the model makes of them; batches are padded, so that it is compiled once."""
    clips = Clips(source.path, source.split, source.rule, source.num_frames, source.stride, limit)
    with contextlib.closing(open_batches(clips, BATCH_SIZE)) as batches:
        for batch in batches:
            video = batch["video"]
            padded = np.resize(video, (BATCH_SIZE, *video.shape[1:]))
            seen = jax.device_get(analysis.observe(trained.model, trained.params, padded))
            for clip in range(len(video)):
                one = jax.tree.map(lambda x, clip=clip: x[clip], (batch, seen))
                aligned = analysis.align(
                    one[1], trained.model.num_context_frames, analysis.has_background(trained.model)
                )
                yield Clip(one[0], aligned)


def collision_clips(trained: Trained, source: Source, limit: int) -> Iterator[Clip]:
    """The same of clips in which a collision first shows after the observed frames; none where the data have none."""
    source = source._replace(rule="collision")
    clips = Clips(source.path, source.split, source.rule, source.num_frames, source.stride)
    return observed_clips(trained, source, limit) if count_clips(clips) else iter(())


def look(
    trained: Trained, source: Source, num_clips: int, num_scored: int
) -> tuple[list[Clip], dict[str, np.ndarray], np.ndarray | None]:
    """Looks at the first clips of a split.

    Returns:
        The first `num_clips`; by name, the errors f32[n s] of all n clips' predicted frames, none where nothing is
        predicted; and the spread f32[d] of the updated dynamics, where there are such.
    """
    clips, errors, dynamics = [], [], []
    for clip in observed_clips(trained, source, max(num_clips, num_scored)):
        if len(clips) < num_clips:
            clips.append(clip)
        if clip.seen.future is not None:
            predicted = clip.seen.future.decoded.reconstruction
            errors.append(analysis.prediction_errors(clip.batch["video"][None], predicted[None]))
        if clip.seen.interaction is not None:
            dynamics.append(clip.seen.interaction.updated_dynamics)
    names = (type(trained.model).__name__, "copy of the last seen frame")
    by_name = {name: np.concatenate(values) for name, values in zip(names, zip(*errors))}
    return clips, by_name, np.concatenate(dynamics).std((0, 1)) if dynamics else None


def find_collision(source: Source, clip: Clip) -> Collision:
    """The two slots that show the objects of a clip's first collision, where the data say which objects collide."""
    split, batch = open_split(source.path, source.split), clip.batch
    none = "These data do not say which objects collide in this clip"
    collisions = split.records[int(batch["example_id"])]["collisions"]
    start, gap = batch["start_frame"] // split.source_stride, source.stride // split.source_stride
    for source_frame, object_ids in zip(collisions["frame_id"], collisions["object_ids"]):
        shown = clip_rules.collision_clip_frames([source_frame], start, source.num_frames, gap)
        if not len(shown) or shown[0] == 0:
            continue
        if not batch["has_segmentation"]:
            none = "These data do not say where the objects are that collide"
            continue
        frame, none = int(shown[0]), "Of two objects that collide one has no slot of its own"
        masks, segmentation = clip.seen.decoded.slot_masks[frame], batch["segmentation"][frame]
        pair = analysis.slots_of_objects(masks, segmentation, tuple(map(int, object_ids)))
        if pair is not None:
            reason = f"The two objects first touch at t = {frame + 1}; their slots are those whose masks fit them best."
            return Collision(pair, frame, reason)
    reason = f"{none}: shown is the pair of slots with the highest attention."
    return Collision(analysis.strongest_pair(clip.seen.interaction.pair_attention), None, reason)


def find_mover(clips: list[Clip], background: bool = False) -> tuple[Clip, int, int, str]:
    """A clip, a frame and a slot in motion: that of the fastest object, or else the one that travels farthest."""
    speeds = [np.nan_to_num(np.linalg.norm(clip.batch["image_velocity"], axis=-1))[1:] for clip in clips]
    candidates = itertools.chain.from_iterable(
        [(speed, number, *where) for where, speed in np.ndenumerate(of_clip)]
        for number, of_clip in enumerate(speeds)
    )
    for speed, number, frame, entry in sorted(candidates, reverse=True):
        clip = clips[number]
        if speed == 0 or not clip.batch["has_segmentation"]:
            break
        masks, truth = clip.seen.decoded.slot_masks[frame + 1], clip.batch["segmentation"][frame + 1]
        slots = analysis.slots_of_objects(masks, truth, (int(clip.batch["object_id"][entry]),))
        if slots is not None:
            return clip, frame + 1, slots[0], "It shows the fastest object."
    clip = clips[0]
    slot = analysis.moving_slot(clip.seen.decoded.slot_masks, background)
    left_out = "background's" if background else "largest"
    return clip, 1, slot, f"It travels farthest of all but the {left_out} slot."
