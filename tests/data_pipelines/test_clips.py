"""Clip selection against definitions written out frame by frame."""

import numpy as np
import pytest

from data_pipelines import clips


def test_gaps_are_given_in_source_frames():
    assert clips.stored_gap(4, 1) == 4
    assert clips.stored_gap(4, 4) == 1
    assert clips.stored_gap(12, 4) == 3
    for stride, source_stride in ((2, 4), (6, 4), (0, 1), (-4, 4)):
        with pytest.raises(ValueError, match="stored"):
            clips.stored_gap(stride, source_stride)


def _frames(start: int, num_frames: int, gap: int) -> list[int]:
    return [start + i * gap for i in range(num_frames)]


@pytest.mark.parametrize(
    "video_frames,num_frames,gap", [(128, 8, 4), (10, 10, 1), (29, 8, 4), (28, 8, 4), (5, 1, 3)]
)
def test_starts_are_all_clips_that_fit(video_frames, num_frames, gap):
    expected = [s for s in range(video_frames) if _frames(s, num_frames, gap)[-1] < video_frames]
    assert clips.clip_starts(video_frames, num_frames, gap).tolist() == expected


def _shows_in(touch: int, frames: list[int]) -> int | None:
    """The first frame of the clip at or after the touch, counted in the clip."""
    if touch < frames[0]:
        return None
    return next((i for i, frame in enumerate(frames) if frame >= touch), None)


def test_collision_clips_by_brute_force():
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(200):
        video_frames, num_frames, gap = (
            int(rng.integers(5, 60)),
            int(rng.integers(3, 9)),
            int(rng.integers(1, 5)),
        )
        touches = rng.integers(0, video_frames, rng.integers(0, 4))
        expected = []
        for start in range(video_frames):
            frames = _frames(start, num_frames, gap)
            if frames[-1] < video_frames:
                shown = [_shows_in(touch, frames) for touch in touches]
                if any(index is not None and index >= 2 for index in shown):
                    expected.append(start)
                at = clips.collision_clip_frames(touches, start, num_frames, gap)
                assert sorted(at) == sorted(index for index in shown if index is not None)
        assert clips.collision_starts(touches, video_frames, num_frames, gap).tolist() == expected
        found += len(expected)
    assert found > 500


def test_the_edges_of_the_collision_window():
    # Frames s, s + 4, ..., s + 28: the touch must come after s + 4 and not after s + 28.
    starts = clips.collision_starts(np.array([60]), 128, 8, 4)
    assert starts.min() == 60 - 28
    assert starts.max() == 60 - 5
    assert clips.collision_clip_frames(np.array([60]), 60 - 5, 8, 4).tolist() == [2]
    assert clips.collision_clip_frames(np.array([60]), 60 - 4, 8, 4).tolist() == [1]


def test_places_of_ids():
    assert clips.places_of([[7, 2], [2, 9]], [2, 5, 7]).tolist() == [[2, 0], [0, -1]]
    assert clips.places_of(np.zeros((0, 2), int), [2]).shape == (0, 2)
    assert clips.places_of([[0, 1]], []).tolist() == [[-1, -1]]


def test_stored_at_a_stride_gives_the_same_clips():
    """What a data set stored at stride 4 knows of a touch is enough."""
    rng = np.random.default_rng(1)
    for _ in range(50):
        touches = rng.integers(0, 128, 2)
        stored_touches = -(-touches // 4)
        stored = clips.collision_starts(stored_touches, 32, 8, clips.stored_gap(4, 4)) * 4
        source = clips.collision_starts(touches, 128, 8, 4)
        assert stored.tolist() == [start for start in source if start % 4 == 0]


@pytest.mark.parametrize(
    "rows,window",
    [
        (["11", "11", "11"], (0, 3)),
        (["01", "11", "11", "10", "11", "11", "11"], (1, 3)),  # the first, not the longest
        (["01", "10"], (0, 0)),
        (["01", "11"], (1, 2)),
        (["", ""], (0, 0)),  # no objects
    ],
)
def test_the_first_window_with_all_in_view(rows, window):
    inside = np.array([[character == "1" for character in row] for row in rows], bool).reshape(len(rows), -1)
    assert clips.all_visible_window(inside) == window


def test_evaluation_clips_open_a_long_window():
    assert clips.all_visible_start((17, 57), 10, 4, 1) == 17
    assert clips.all_visible_start((17, 56), 10, 4, 1) is None  # 39 source frames
    assert clips.all_visible_start((17, 56), 10, 4, 1, min_source_frames=37) == 17
    assert clips.all_visible_start((17, 53), 10, 4, 1, min_source_frames=1) is None  # the clip does not fit
    assert clips.all_visible_start((4, 14), 10, 1, 4) == 4  # stored at stride 4
    assert clips.all_visible_start((4, 13), 9, 1, 4) is None
    assert clips.all_visible_start((0, 0), 1, 1, 1, min_source_frames=0) is None
