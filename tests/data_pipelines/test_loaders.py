"""Batches: what is in them, and that they depend on the seed and the step alone."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

from data_pipelines import clips, loaders
from data_pipelines.datasets import VERSION
from tests.conftest import PATIENCE
from tests.data_pipelines.handmade import HandmadeVideo, write_dataset

IN_VIEW = np.ones((20, 2), bool)
TRAIN = 7


def _late(frames: int, first: int) -> np.ndarray:
    """Two objects, the second in view from `first` on."""
    return np.stack([np.ones(frames, bool), np.arange(frames) >= first], axis=1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Seven videos of 20 frames for training; what validation has is listed here."""
    train = [
        HandmadeVideo(20, IN_VIEW, (2 * position, 19) if position % 2 else ()) for position in range(TRAIN)
    ]
    validation = [
        HandmadeVideo(20, IN_VIEW, (9,)),
        HandmadeVideo(20, _late(20, 3), (3, 4, 17)),
        HandmadeVideo(20, _late(20, 15)),
        HandmadeVideo(20, np.ones((20, 1), bool), known_frames=6),
        HandmadeVideo(24, _late(24, 4)),
    ]
    return write_dataset(tmp_path_factory.mktemp("loaders"), {"train": train, "validation": validation})


@pytest.fixture(scope="module")
def strided(tmp_path_factory):
    """Stored at every fourth source frame."""
    videos = [HandmadeVideo(10, np.ones((10, 2), bool), (5,)), HandmadeVideo(10, np.ones((10, 3), bool))]
    return write_dataset(tmp_path_factory.mktemp("strided"), {"train": videos}, source_stride=4)


def _take(number: int, *arguments, **options) -> list[dict]:
    iterator = loaders.training_batches(*arguments, **options)
    try:
        return list(itertools.islice(iterator, number))
    finally:
        iterator.close()


def _assert_equal(first: list[dict], second: list[dict]) -> None:
    assert len(first) == len(second) > 0
    for a, b in zip(first, second):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)
            assert a[name].dtype == b[name].dtype


def _samples(batches: list[dict]) -> list[tuple[int, int]]:
    return [(int(e), int(s)) for b in batches for e, s in zip(b["example_id"], b["start_frame"])]


OPTIONS = {"num_frames": 4, "stride": 3, "batch_size": 6, "seed": 1}


def test_a_batch_is_what_the_contract_says(dataset):
    (batch,) = _take(1, dataset, "train", **OPTIONS)
    expected = {
        "video": (np.float32, (6, 4, 4, 6, 3)),
        "segmentation": (np.uint8, (6, 4, 4, 6)),
        "has_segmentation": (np.bool_, (6,)),
        "example_id": (np.int64, (6,)),
        "scene_index": (np.int32, (6,)),
        "start_frame": (np.int32, (6,)),
        "stride": (np.int32, (6,)),
    }
    assert {name: (value.dtype.type, value.shape) for name, value in batch.items()} == expected
    np.testing.assert_array_equal(batch["scene_index"], 100 + batch["example_id"])
    np.testing.assert_array_equal(batch["stride"], 3)
    # The pixels say which video and which frames they are.
    frames = batch["start_frame"][:, None] + 3 * np.arange(4)
    pixels = np.rint(batch["video"] * 255).astype(int)
    np.testing.assert_array_equal(
        pixels[..., 0], np.broadcast_to(batch["example_id"][:, None, None, None], (6, 4, 4, 6))
    )
    np.testing.assert_array_equal(pixels[..., 1], np.broadcast_to(frames[..., None, None], (6, 4, 4, 6)))
    np.testing.assert_array_equal(batch["segmentation"], pixels[..., 1])
    assert batch["video"].flags.writeable
    assert batch["segmentation"].flags.writeable


def test_every_epoch_takes_every_video_once_in_another_order(dataset):
    samples = _samples(_take(14, dataset, "train", **OPTIONS))  # 84 samples: 12 epochs
    epochs = [samples[start : start + TRAIN] for start in range(0, len(samples), TRAIN)]
    assert all(sorted(video for video, _ in epoch) == list(range(TRAIN)) for epoch in epochs)
    assert len({tuple(video for video, _ in epoch) for epoch in epochs}) > 6
    # 20 frames hold clips of 10 frames at 11 starts.
    assert {start for _, start in samples} == set(range(11))


def test_the_stream_is_a_function_of_the_seed(dataset):
    first = _take(4, dataset, "train", **OPTIONS)
    _assert_equal(first, _take(4, dataset, "train", **OPTIONS))
    _assert_equal(first, _take(4, dataset, "train", **OPTIONS, num_threads=1))
    _assert_equal(first, _take(4, dataset, "train", **OPTIONS, num_threads=0))
    assert _samples(first) != _samples(_take(4, dataset, "train", **OPTIONS | {"seed": 2}))


@pytest.mark.parametrize("step", [1, 5, 100])
def test_a_stream_is_resumed_at_any_step(dataset, step):
    resumed = _take(3, dataset, "train", **OPTIONS, start_step=step)
    _assert_equal(_take(step + 3, dataset, "train", **OPTIONS)[step:], resumed)


@pytest.mark.parametrize("clips_option", ["random", "collision"])
def test_shards_share_the_single_stream_step_by_step(dataset, clips_option):
    options = OPTIONS | {"clips": clips_option}
    whole = _take(5, dataset, "train", **options)
    shards = [_take(5, dataset, "train", **options, shard_index=i, num_shards=3) for i in range(3)]
    for step in range(5):
        parts = [shard[step] for shard in shards]
        assert all(len(part["example_id"]) == 2 for part in parts)
        for name in whole[step]:
            interleaved = np.stack([part[name] for part in parts], axis=1).reshape(whole[step][name].shape)
            np.testing.assert_array_equal(interleaved, whole[step][name])


def test_collision_clips_show_a_collision_from_the_third_frame_on(dataset):
    samples = _samples(_take(40, dataset, "train", **OPTIONS, clips="collision"))
    # Odd videos touch in frames 2 * position and 19.
    expected = {
        (video, start)
        for video in (1, 3, 5)
        for start in range(11)
        if any(start + 3 < touch <= start + 9 for touch in (2 * video, 19))
    }
    assert set(samples) == expected


def test_a_batch_larger_than_the_split_is_filled_over_epochs(dataset):
    (batch,) = _take(1, dataset, "train", **OPTIONS | {"batch_size": 16})
    assert len(batch["example_id"]) == 16


def test_masks_are_known_only_where_all_frames_have_them(dataset):
    samples = {}
    for batch in _take(40, dataset, "validation", **OPTIONS | {"num_frames": 2, "stride": 1}):
        for video, start, known in zip(batch["example_id"], batch["start_frame"], batch["has_segmentation"]):
            samples[int(video), int(start)] = bool(known)
    assert {known for (video, _), known in samples.items() if video != 3} == {True}
    of_third = {start: known for (video, start), known in samples.items() if video == 3}
    assert of_third == {start: start + 1 < 6 for start in of_third}
    assert set(of_third.values()) == {True, False}


def _evaluate(*arguments, **options) -> list[dict]:
    return list(loaders.evaluation_batches(*arguments, **options))


def test_evaluation_is_finite_ordered_and_ends_short(dataset):
    batches = _evaluate(dataset, "validation", num_frames=4, stride=5, batch_size=3)
    assert [b["example_id"].tolist() for b in batches] == [[0, 1, 2], [3, 4]]
    assert all((b["start_frame"] == 0).all() for b in batches)
    limited = _evaluate(dataset, "validation", num_frames=4, stride=5, batch_size=3, limit=4)
    assert [b["example_id"].tolist() for b in limited] == [[0, 1, 2], [3]]
    shards = [
        _evaluate(dataset, "validation", num_frames=4, stride=5, batch_size=4, shard_index=i, num_shards=2)
        for i in range(2)
    ]
    assert [[b["example_id"].tolist() for b in shard] for shard in shards] == [[[0, 2], [4]], [[1, 3]]]


def test_evaluation_gives_positions_of_what_is_in_view(dataset):
    batch = _evaluate(dataset, "validation", num_frames=4, stride=2, batch_size=5)[0]
    assert batch["image_position"].shape == batch["image_velocity"].shape == (5, 4, 2, 2)
    assert batch["image_position"].dtype == batch["image_velocity"].dtype == np.float32
    frames = 2.0 * np.arange(4)
    # Video 1: its second object comes into view in frame 3.
    np.testing.assert_array_equal(batch["image_position"][1, :, 0], frames[:, None] * [1, 2])
    np.testing.assert_array_equal(np.isnan(batch["image_position"][1, :, 1, 0]), [True, True, False, False])
    # One pixel a stored frame to the right and two down, hence twice that a clip frame.
    np.testing.assert_array_equal(batch["image_velocity"][1, :, 0], np.broadcast_to([2, 4], (4, 2)))
    np.testing.assert_array_equal(np.isnan(batch["image_velocity"]), np.isnan(batch["image_position"]))
    # Video 3 has one object.
    np.testing.assert_array_equal(batch["object_id"], [[0, 1], [0, 1], [0, 1], [0, -1], [0, 1]])
    assert np.isnan(batch["image_position"][3, :, 1]).all()
    # Clip frames 0 2 4 6: touches in 3 and 4 first show in clip frame 2; that of frame 17 is outside.
    np.testing.assert_array_equal(batch["collision_frame"][:2], [[-1, -1, -1], [2, 2, -1]])
    nobody = [-1, -1]
    np.testing.assert_array_equal(batch["collision_places"][:2], [[nobody] * 3, [[0, 1], [0, 1], nobody]])


def test_evaluation_clips_of_the_paper(dataset):
    options = {"num_frames": 4, "stride": 3, "batch_size": 8, "selection": "all_visible"}
    (batch,) = _evaluate(dataset, "validation", **options, num_objects=2, min_source_frames=17)
    np.testing.assert_array_equal(batch["example_id"], [0, 1, 4])
    np.testing.assert_array_equal(batch["start_frame"], [0, 3, 4])
    (batch,) = _evaluate(dataset, "validation", **options, num_objects=2, min_source_frames=18)
    np.testing.assert_array_equal(batch["example_id"], [0, 4])
    (batch,) = _evaluate(dataset, "validation", **options, min_source_frames=18)
    np.testing.assert_array_equal(batch["example_id"], [0, 3, 4])
    with pytest.raises(ValueError, match=r"no \"all_visible\" clip.*6 objects"):
        _evaluate(dataset, "validation", **options, num_objects=6)


def test_first_collision_clips(dataset):
    (batch,) = _evaluate(dataset, "validation", num_frames=3, stride=2, batch_size=9, selection="collision")
    assert _samples([batch]) == [
        (video, int(clips.collision_starts(touches, 20, 3, 2)[0]))
        for video, touches in ((0, (9,)), (1, (3, 4, 17)))
    ]


def test_gaps_are_source_frames_whatever_is_stored(strided):
    (batch,) = _take(1, strided, "train", num_frames=3, stride=8, batch_size=4, seed=0)
    np.testing.assert_array_equal(batch["stride"], 8)
    pixels = np.rint(batch["video"][:, :, 0, 0, 1] * 255).astype(int)
    np.testing.assert_array_equal(pixels, batch["start_frame"][:, None] // 4 + 2 * np.arange(3))
    (batch,) = _evaluate(strided, "train", num_frames=4, stride=8, batch_size=4)
    np.testing.assert_array_equal(
        batch["image_velocity"][0, 0, 0], [2, 4]
    )  # stored frames are one pixel apart
    np.testing.assert_array_equal(batch["collision_frame"], [[3], [-1]])
    # Ten stored frames are forty source frames.
    (batch,) = _evaluate(strided, "train", num_frames=10, stride=4, batch_size=4, selection="all_visible")
    assert len(batch["example_id"]) == 2


@pytest.mark.parametrize(
    "change,said",
    [
        ({"stride": 6}, "positive multiple of 4"),
        ({"stride": 0}, "positive multiple of 4"),
        ({"num_frames": 11, "stride": 4}, "too short for clips of 11 frames at stride 4"),
        ({"num_frames": 0}, "num_frames must be at least 1"),
        ({"batch_size": 3, "num_shards": 2}, "cannot be shared by 2"),
        ({"batch_size": 0}, "cannot be shared"),
        ({"num_shards": 2, "shard_index": 2}, "shard_index"),
        ({"clips": "nice"}, "nice"),
        ({"clips": "collision", "num_frames": 2, "stride": 4}, "no clip of 2 frames"),
    ],
)
def test_wrong_arguments_give_one_line(strided, change, said):
    options = {"num_frames": 3, "stride": 8, "batch_size": 4, "seed": 0} | change
    with pytest.raises(ValueError, match=said) as caught:
        loaders.training_batches(strided, "train", **options)
    assert "\n" not in str(caught.value)


def test_missing_data_sets_and_splits_say_what_to_do(strided, tmp_path):
    with pytest.raises(ValueError, match="no split 'valid'; there are train"):
        loaders.training_batches(strided, "valid", **OPTIONS)
    for path, command in (
        (tmp_path / "clevrer" / "64x64" / VERSION, "build clevrer/64x64 --data_dir=.* --raw_dir=FOLDER"),
        (tmp_path / "simulated_clevrer" / "64x64" / VERSION, "build simulated_clevrer/64x64 --data_dir="),
    ):
        for read in (
            loaders.dataset_summary,
            lambda path: loaders.training_batches(path, "train", **OPTIONS),
        ):
            with pytest.raises(FileNotFoundError, match=command):
                read(path)


def test_an_iterator_left_open_ends_quietly(dataset):
    code = (
        "import sys; from data_pipelines import loaders\n"
        f"batches = loaders.training_batches({str(dataset)!r}, 'train', num_frames=4, stride=3, batch_size=6, seed=1)\n"
        "next(batches)\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=PATIENCE
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
