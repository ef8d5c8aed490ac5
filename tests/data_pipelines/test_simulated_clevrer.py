"""The simulated data set against the simulator itself."""

import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_pipelines import build, loaders
from data_pipelines.builders.simulated_clevrer.simulated_clevrer_dataset_builder import FIRST_INDEX
from data_pipelines.simulator import QUICKSTART, simulate_video, video_seed
from data_pipelines.simulator.config import SIMULATOR_VERSION

SEED = 5


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> build.BuildSummary:
    config = build.make_config(
        "simulated_clevrer", "quickstart", num_train=3, num_validation=2, num_frames=5, width=48, seed=SEED
    )
    return build.build("simulated_clevrer", config, tmp_path_factory.mktemp("data"), jobs=1, progress=False)


def _records(built, split):
    return tfds.builder_from_directory(str(built.path)).as_data_source(split)


def test_records_are_what_the_simulator_gives(built):
    expected = simulate_video(QUICKSTART, video_seed(SEED, 1), height=32, width=48, stride=4, num_frames=5)
    record = _records(built, "train")[1]
    assert record["scene_index"] == 1
    assert record["source_stride"] == 4
    assert record["has_segmentation"]
    assert record["segmented_frames"].all()
    for name in ("video", "segmentation", "location", "velocity", "inside_camera_view"):
        np.testing.assert_array_equal(record[name], getattr(expected, name))
    for name in ("image_position", "image_velocity"):
        np.testing.assert_array_equal(record[name], getattr(expected, name))
        assert np.isfinite(record[name]).all()
    features = tfds.builder_from_directory(str(built.path)).info.features["objects"].feature
    for key in ("color", "material", "shape"):
        names = [features[key].int2str(int(number)) for number in record["objects"][key]]
        assert names == [getattr(scene_object, key) for scene_object in expected.objects]
    collisions = [collision.frame_id for collision in expected.collisions]
    np.testing.assert_array_equal(record["collisions"]["frame_id"], collisions)


def test_collisions_are_stored(built):
    stored = [
        int(frame)
        for split in ("train", "validation")
        for r in _records(built, split)
        for frame in r["collisions"]["frame_id"]
    ]
    expected = [
        collision.frame_id
        for split, number in (("train", 3), ("validation", 2))
        for index in range(FIRST_INDEX[split], FIRST_INDEX[split] + number)
        for collision in simulate_video(
            QUICKSTART, video_seed(SEED, index), height=4, width=6, stride=4, num_frames=5, supersampling=1
        ).collisions
    ]
    assert stored == expected


def test_every_video_is_another(built):
    videos = [record["video"] for split in ("train", "validation") for record in _records(built, split)]
    assert len({video.tobytes() for video in videos}) == 5
    names = {bytes(r["video_filename"]) for split in ("train", "validation") for r in _records(built, split)}
    assert len(names) == 5


def test_the_card_says_what_was_simulated(built):
    summary = loaders.dataset_summary(built.path)
    assert summary.card["options"]["seed"] == SEED
    assert summary.card["options"]["scenes"] == "quickstart"
    assert summary.card["versions"]["mujoco-core"] == "4.0.1"
    assert len(summary.card["config_sha256"]) == 64
    assert summary.splits == {"train": 3, "validation": 2}
    assert (summary.height, summary.width, summary.num_frames, summary.source_stride) == (32, 48, 5, 4)
    assert (summary.name, summary.version) == ("simulated_clevrer", build.VERSION)


def test_every_video_of_six_objects_gives_a_clip_of_the_papers_kind(tmp_path):
    options = dict(height=8, width=8, stride=4, num_train=1, num_validation=6, supersampling=1)
    config = build.make_config("simulated_clevrer", "64x64_six_objects", **options)
    path = build.build("simulated_clevrer", config, tmp_path, jobs=1, progress=False).path
    (batch,) = loaders.evaluation_batches(
        path, "validation", num_frames=10, stride=4, batch_size=9, selection="all_visible", num_objects=6
    )
    assert batch["video"].shape == (6, 10, 8, 8, 3)
    assert (batch["object_id"] == np.arange(6)).all()
    assert np.isfinite(batch["image_position"]).all()


def test_sizes_of_the_splits_change_no_video(built, tmp_path):
    config = build.make_config(
        "simulated_clevrer", "quickstart", num_train=1, num_validation=1, num_frames=5, width=48, seed=SEED
    )
    smaller = build.build("simulated_clevrer", config, tmp_path, jobs=1, progress=False)
    for split in ("train", "validation"):
        np.testing.assert_array_equal(
            _records(smaller, split)[0]["video"], _records(built, split)[0]["video"]
        )


@pytest.mark.parametrize(
    "key, ours, others",
    [
        ("config", '"camera_distance": 2.8', '"camera_distance": 2.9'),
        ("simulator", f'"simulator": "{SIMULATOR_VERSION}"', '"simulator": "1.0.0"'),
    ],
)
def test_a_data_set_of_another_release_is_not_taken_for_ours(built, tmp_path, key, ours, others):
    data_dir = tmp_path / "data"
    shutil.copytree(built.path.parents[2], data_dir)
    config = build.make_config(
        "simulated_clevrer", "quickstart", num_train=3, num_validation=2, num_frames=5, width=48, seed=SEED
    )
    build.build("simulated_clevrer", config, data_dir)
    card = build.dataset_path("simulated_clevrer", config.name, data_dir) / "simulator.json"
    assert ours in card.read_text()
    card.write_text(card.read_text().replace(ours, others))
    for use in (
        lambda: build.verify("simulated_clevrer", config.name, data_dir),
        lambda: build.build("simulated_clevrer", config, data_dir),
    ):
        with pytest.raises(ValueError, match=rf"another {key} than this one has .*: remove the folder"):
            use()
