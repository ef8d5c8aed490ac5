"""Which clips of a data set are looked at, for scores and for pictures."""

import pathlib
from collections.abc import Iterator
from typing import NamedTuple

from data_pipelines import clips as clip_rules
from data_pipelines import loaders
from data_pipelines.datasets import read_index

# How `loaders.evaluation_batches` is asked for each kind of clips. Source of "paper": section 4.1.
RULES = {
    "paper": dict(selection="all_visible", num_objects=6, limit=1000),
    "first": dict(selection="first"),
    "collision": dict(selection="collision"),
}
SHOWN_RULES = {
    "paper": "where six objects are first in view together, as in the paper",
    "first": "the beginning of each video",
    "collision": "of each video, the first with a collision from its third frame on",
}


class Clips(NamedTuple):
    """Some clips of a split."""

    dataset_dir: pathlib.Path
    split: str
    rule: str  # a key of RULES
    num_frames: int
    stride: int  # source frames
    limit: int | None = None  # only the first so many


def count_clips(clips: Clips) -> int:
    """How many clips of the kind the split has, up to the limit."""
    index = read_index(clips.dataset_dir, clips.split)
    gap = clip_rules.stored_gap(clips.stride, index["source_stride"])
    return len(
        clip_rules.choose(index["entries"], index["source_stride"], clips.num_frames, gap, **_rule(clips))
    )


def by_rule(clips: Clips, rule: str | None = None) -> Clips:
    """The same by another rule; None: the paper's where there are such clips, else the beginning of each video.

    By a rule that is named there may be none.
    """
    if rule is None:
        rule = "paper" if count_clips(clips._replace(rule="paper")) else "first"
    return clips._replace(rule=rule)


def open_batches(clips: Clips, batch_size: int) -> Iterator[loaders.Batch]:
    """The clips in batches, of which the last may be short; to be closed. See `loaders.evaluation_batches`."""
    return loaders.evaluation_batches(
        clips.dataset_dir,
        clips.split,
        num_frames=clips.num_frames,
        stride=clips.stride,
        batch_size=batch_size,
        **_rule(clips),
    )


def _rule(clips: Clips) -> dict:
    rule = RULES[clips.rule]
    return rule if clips.limit is None else rule | {"limit": clips.limit}
