"""Scenes without pictures: those of the videos, in the same records, whoever makes them."""

import subprocess
import sys

import numpy as np
import pytest

from data_pipelines import build
from data_pipelines.datasets import VERSION, dataset_summary, open_split
from experiments.vqa import features
from tests.conftest import PATIENCE

OPTIONS = dict(scenes="quickstart", stride=4, num_train=3, num_validation=2, num_frames=5, seed=5)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folders of some scenes, and of their videos in CLEVRER's 3:2."""
    data_dir = tmp_path_factory.mktemp("data")
    scenes = build.make_config("simulated_clevrer_scenes", "clevrer", **OPTIONS)
    videos = build.make_config("simulated_clevrer", "64x96", height=4, width=6, supersampling=1, **OPTIONS)
    return [
        build.build(name, config, data_dir, jobs=1, progress=False).path
        for name, config in (("simulated_clevrer_scenes", scenes), ("simulated_clevrer", videos))
    ]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_records_and_index_are_those_of_the_videos(built, split):
    scenes, videos = (open_split(path, split) for path in built)
    assert scenes.entries == videos.entries and scenes.source_stride == 4
    assert len(scenes.records) == OPTIONS[f"num_{split}"]
    for place in range(len(scenes.records)):
        ours, theirs = scenes.records[place], videos.records[place]
        assert theirs.keys() - ours.keys() == {
            *("video", "segmentation", "segmented_frames", "has_segmentation"),
            *("image_position", "image_velocity"),
        }
        for name, values in ours.items():
            parts = [(values, theirs[name])]
            if isinstance(values, dict):
                parts = [(part, theirs[name][key]) for key, part in values.items()]
            for own, other in parts:
                np.testing.assert_array_equal(own, other)
    assert abs(ours["velocity"]).max() > 0.1


def test_what_a_reasoner_is_told_is_the_same(built):
    ours, theirs = (features.truth(path, "train") for path in built)
    np.testing.assert_array_equal(ours.slots, theirs.slots)
    np.testing.assert_array_equal(ours.scene_index, theirs.scene_index)


def test_two_processes_of_another_program_write_the_same_bytes(built, tmp_path):
    options = [f"--{name}={value}" for name, value in OPTIONS.items()]
    command = [sys.executable, "-m", "data_pipelines.build", "simulated_clevrer_scenes/clevrer", *options]
    run = [*command, f"--data_dir={tmp_path}", "--jobs=2"]
    subprocess.run(run, check=True, capture_output=True, timeout=PATIENCE)
    ours = {path.name: path.read_bytes() for path in built[0].iterdir()}
    theirs = {path.name: path.read_bytes() for path in tmp_path.rglob(f"{VERSION}/*")}
    assert any("array_record" in name for name in ours) and ours == theirs


def test_nobody_takes_them_for_videos(built):
    with pytest.raises(ValueError, match="holds no videos: simulated_clevrer_scenes is a data set without"):
        dataset_summary(built[0])


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"scenes": "towers"},
            "scenes must be one of clevrer, six_objects, quickstart, quickstart_long, not 'towers'",
        ),
        ({"stride": 0}, "stride must be at least 1, not 0"),
        ({"num_train": 0}, "num_train must be at least 1, not 0"),
        ({"num_frames": 33, "stride": 4}, "33 frames at stride 4 span more than the 128 frames"),
        ({"height": 8}, "simulated_clevrer_scenes has no option height"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        build.make_config("simulated_clevrer_scenes", "clevrer", **options)
