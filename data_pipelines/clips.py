"""Which clips of a video are used: pure functions of what is known about the video.

A clip is `num_frames` stored frames, `gap` apart. Frame numbers are stored frames here, except where a name says
source: a data set stored at a stride keeps only the source frames 0, stride, 2 * stride, ...
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


def stored_gap(stride: int, source_stride: int) -> int:
    """The gap between a clip's frames in stored frames.

    Args:
        stride: the gap in source frames, positive.
        source_stride: the stride at which the data set is stored.

    Raises:
        ValueError: the data set does not hold frames at that gap.
    """
    if stride < 1 or stride % source_stride:
        raise ValueError(
            f"a stride of {stride} source frames is no positive multiple of {source_stride}, "
            "the stride at which the data set is stored"
        )
    return stride // source_stride


def clip_span(num_frames: int, gap: int) -> int:
    """Stored frames from a clip's first frame to its last, both counted."""
    return (num_frames - 1) * gap + 1


def clip_starts(video_frames: int, num_frames: int, gap: int) -> np.ndarray:
    """First frames i64[s] of all clips of a video; none where the video is too short."""
    return np.arange(max(0, video_frames - clip_span(num_frames, gap) + 1))


def collisions_in_clip(collision_frames: np.ndarray, start: int, num_frames: int, gap: int) -> np.ndarray:
    """Which touches lie between a clip's first frame and its last, both counted: bool[c].

    Args:
        collision_frames: frames of the touches, i[c].
        start: the clip's first frame.
        num_frames: frames of the clip.
        gap: frames between two frames of the clip.
    """
    offset = np.asarray(collision_frames, np.int64) - start
    return (offset >= 0) & (offset < clip_span(num_frames, gap))


def collision_clip_frames(collision_frames: np.ndarray, start: int, num_frames: int, gap: int) -> np.ndarray:
    """The clip frames i64[c] in which touches first show: the first clip frame at or after each touch.

    Touches before the clip's first frame and after its last are left out; arguments as of `collisions_in_clip`.
    """
    inside = collisions_in_clip(collision_frames, start, num_frames, gap)
    return -(-(np.asarray(collision_frames, np.int64)[inside] - start) // gap)


def places_of(wanted: np.ndarray, object_id: np.ndarray) -> np.ndarray:
    """The place of each id i[*b] among different ones i[n]: i64[*b], -1 where it is not among them."""
    same = np.asarray(wanted)[..., None] == np.asarray(object_id)
    return same @ np.arange(1, len(object_id) + 1) - 1


def collision_starts(
    collision_frames: np.ndarray, video_frames: int, num_frames: int, gap: int, first: int = 2
) -> np.ndarray:
    """First frames i64[s] of all clips in which a collision first shows in clip frame `first` or later.

    With two observed frames, `first=2` keeps the clips whose collision falls among the frames to predict.

    Source: paper section 4.1, "CLEVRER-collision"; that the third frame is the first that counts is our choice.
    """
    starts = clip_starts(video_frames, num_frames, gap)
    touches = np.asarray(collision_frames, np.int64)[None]
    after = touches > starts[:, None] + (first - 1) * gap
    before = touches <= starts[:, None] + (num_frames - 1) * gap
    return starts[(after & before).any(axis=1)]


def all_visible_window(inside_camera_view: np.ndarray) -> tuple[int, int]:
    """The first run of frames, start and stop, in which every object is in view; (0, 0) where there is none.

    Args:
        inside_camera_view: bool[t n].

    Source: PROVIDE's published slicing of CLEVRER, which the paper's evaluation follows.
    """
    visible = np.asarray(inside_camera_view, bool)
    if not visible.shape[1]:
        return 0, 0
    together = np.concatenate([visible.all(axis=1), [False]])
    if not together.any():
        return 0, 0
    start = int(np.argmax(together))
    return start, start + int(np.argmin(together[start:]))


def all_visible_start(
    window: tuple[int, int], num_frames: int, gap: int, source_stride: int, min_source_frames: int = 40
) -> int | None:
    """First frame of a video's evaluation clip, or None where the video has none.

    The clip opens the first window in which every object is in view, if that window lasts `min_source_frames`.

    Args:
        window: of `all_visible_window`.
        num_frames: frames of the clip.
        gap: frames between two frames of the clip.
        source_stride: the stride at which the data set is stored.
        min_source_frames: shorter windows are discarded.

    Source: PROVIDE's published slicing (40 frames); the paper then takes 10 frames, whose gap it does not give.
    """
    start, stop = window
    long_enough = (stop - start) * source_stride >= min_source_frames
    return start if long_enough and stop - start >= clip_span(num_frames, gap) else None


def choose(
    entries: Iterable[Mapping[str, Any]],
    source_stride: int,
    num_frames: int,
    gap: int,
    selection: str,
    *,
    num_objects: int | None = None,
    min_source_frames: int = 40,
    limit: int | None = None,
) -> list[tuple[int, int]]:
    """One clip of each eligible video: the video's position, and the clip's first frame.

    Args:
        entries: what an index tells of each video: num_frames, num_objects, collision_frames, all_visible.
        source_stride: the stride at which the data set is stored.
        selection, num_objects, min_source_frames, limit: as of `loaders.evaluation_batches`.

    Raises:
        ValueError: there is no such selection.
    """
    chosen = []
    for position, entry in enumerate(entries):
        if selection == "all_visible":
            window = entry["all_visible"]
            start = all_visible_start(window, num_frames, gap, source_stride, min_source_frames)
            starts = [] if start is None else [start]
        elif selection == "first":
            starts = clip_starts(entry["num_frames"], num_frames, gap)
        elif selection == "collision":
            starts = collision_starts(entry["collision_frames"], entry["num_frames"], num_frames, gap)
        else:
            raise ValueError(f'selection must be "first", "all_visible" or "collision", not {selection!r}')
        if len(starts) and num_objects in (None, entry["num_objects"]):
            chosen.append((position, int(starts[0])))
    return chosen[:limit]
