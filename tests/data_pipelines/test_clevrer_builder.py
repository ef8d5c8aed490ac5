"""The CLEVRER builder on a tiny tree with the quirks of the real one."""

import contextlib
import io
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_pipelines import build, loaders, progress
from data_pipelines.builders import videos
from data_pipelines.builders.clevrer.raw import find_videos
from data_pipelines.datasets import open_split
from data_pipelines.simulator import CLEVRER, generate_scene, simulate_video, video_seed
from data_pipelines.video import read_video
from tests.conftest import PATIENCE
from tests.data_pipelines.handmade import ATTRIBUTES, write_json, write_mp4


class Tree(NamedTuple):
    raw_dir: Path
    summary: build.BuildSummary
    stderr: str
    stdout: str


def _with_index(scene, index: int):
    """The same scene as the video of another number."""
    annotation = scene.annotation | {"scene_index": index, "video_filename": f"video_{index:05d}.mp4"}
    proposal = scene.proposal | {"video_index": index, "video_filename": f"video_{index:05d}.mp4"}
    return annotation, proposal


def _write_tree(root: Path, scene, mp4: Path) -> None:
    """train 0 good, 1 cut off, 2 empty, 3 short proposals, 4 broken json, 5 no video, 6 no annotation, 7 short video,
    8 no proposals, 9 somebody else's annotation; one validation and one test video."""
    train, annotations = (
        root / "videos/train/video_00000-01000",
        root / "annotations/train/annotation_00000-01000",
    )
    validation = root / "videos" / "val" / "video_10000-11000"
    test = root / "video_test" / "video_15000-16000"
    for folder in (train, validation, test, root / "__MACOSX"):
        folder.mkdir(parents=True)
    for index in (0, 3, 4, 6, 8, 9):
        shutil.copy(mp4, train / f"video_{index:05d}.mp4")
    (train / "video_00001.mp4").write_bytes(mp4.read_bytes()[: mp4.stat().st_size // 2])
    (train / "video_00002.mp4").touch()
    write_mp4(train / "video_00007.mp4", scene.frames[:100])
    shutil.copy(mp4, validation / "video_10000.mp4")
    shutil.copy(mp4, test / "video_15000.mp4")
    (root / "__MACOSX" / "video_00000.mp4").write_text("not a video")
    (train / "._video_00000.mp4").write_text("not a video")
    (root / "notes_00000.txt").write_text("")

    for index in (0, 1, 2, 3, 5, 7, 8):
        write_json(annotations / f"annotation_{index:05d}.json", _with_index(scene, index)[0])
    (annotations / "annotation_00004.json").write_text('{"scene_index": 4')
    write_json(annotations / "annotation_00009.json", _with_index(scene, 10)[0])
    write_json(root / "annotations/validation/annotation_10000.json", _with_index(scene, 10000)[0])

    for index in (*range(8), 9, 10000, 15000):
        proposal = _with_index(scene, index)[1]
        if index == 3:
            proposal["frames"] = proposal["frames"][:104]
        write_json(root / "derender_proposals" / f"proposal_{index:05d}.json", proposal)


@pytest.fixture(scope="module")
def tree(tmp_path_factory, _scene, mp4) -> Tree:
    """The tree, built as `clevrer/64x64` by the command line."""
    root = tmp_path_factory.mktemp("tree")
    _write_tree(root / "raw", _scene, mp4)
    stderr, stdout = io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stderr(stderr))
        stack.enter_context(contextlib.redirect_stdout(stdout))
        # No lines of progress, which come where it takes long.
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(progress, "SECONDS_BETWEEN_LINES", math.inf)
        arguments = ["clevrer/64x64", f"--raw_dir={root}/raw", f"--data_dir={root}/data", "--jobs=1"]
        assert build.main(arguments) == 0
        summary = build.build("clevrer", "64x64", root / "data")  # built: needs no raw files
    return Tree(root / "raw", summary, stderr.getvalue(), stdout.getvalue())


def _records(tree: Tree, split: str):
    return tfds.builder_from_directory(str(tree.summary.path)).as_data_source(split)


def test_summary_counts_and_names(tree):
    summary = tree.summary
    skipped = {Path(file).name: reason for file, reason in summary.skipped}
    assert sorted(skipped) == [
        "annotation_00004.json",
        "annotation_00006.json",
        "annotation_00009.json",
        "video_00001.mp4",
        "video_00002.mp4",
        "video_00005.mp4",
        "video_00007.mp4",
    ]
    assert skipped["video_00007.mp4"] == "100 frames instead of 128"
    assert "no such file" in skipped["video_00005.mp4"]
    incomplete = {Path(file).name: reason for file, reason in summary.incomplete}
    assert sorted(incomplete) == ["proposal_00003.json", "proposal_00008.json"]
    assert "104 of 128" in incomplete["proposal_00003.json"]
    assert (summary.videos, summary.frames) == (5, 5 * 128)
    assert summary.bytes == sum(path.stat().st_size for path in summary.path.iterdir())


def test_only_our_lines_are_seen(tree):
    lines = tree.stderr.splitlines()
    assert len(lines) == 9
    assert all(line.startswith(("skipped: ", "incomplete: ")) for line in lines)
    assert tree.stdout.startswith("videos      5\nframes      640\nskipped     7\n")


def test_records_lie_in_index_order(tree):
    assert [int(record["scene_index"]) for record in _records(tree, "train")] == [0, 3, 8]
    assert [int(record["scene_index"]) for record in _records(tree, "validation")] == [10000]
    assert [int(record["scene_index"]) for record in _records(tree, "test")] == [15000]


def test_what_is_read_back_is_what_was_there(tree, scene, mp4):
    record = _records(tree, "train")[0]
    assert record["video_filename"] == b"video_00000.mp4"
    assert record["source_stride"] == 1
    np.testing.assert_array_equal(record["video"], read_video(mp4, 64, 64, crop=True))
    numbers = (scene.masks * np.arange(1, 4)[:, None, None]).max(axis=1)
    np.testing.assert_array_equal(record["segmentation"], numbers[:, 2::5, 82:400:5])
    assert record["has_segmentation"]
    assert record["segmented_frames"].all()

    builder = tfds.builder_from_directory(str(tree.summary.path))
    objects, kinds = record["objects"], builder.info.features["objects"].feature
    names = [
        tuple(kinds[key].int2str(int(objects[key][n])) for key in ("color", "material", "shape"))
        for n in range(3)
    ]
    assert names == ATTRIBUTES
    np.testing.assert_array_equal(objects["object_id"], [0, 1, 2])
    by_id = [
        sorted(frame["objects"], key=lambda entry: entry["object_id"])
        for frame in scene.annotation["motion_trajectory"]
    ]
    for key in ("location", "velocity"):
        np.testing.assert_allclose(
            record[key], [[entry[key] for entry in frame] for frame in by_id], rtol=1e-6
        )
    np.testing.assert_array_equal(
        record["inside_camera_view"], [[entry["inside_camera_view"] for entry in frame] for frame in by_id]
    )
    np.testing.assert_array_equal(record["collisions"]["frame_id"], [32, 120])
    np.testing.assert_array_equal(record["collisions"]["object_ids"], [[0, 1], [2, 0]])
    np.testing.assert_allclose(record["collisions"]["location"], [[0, 1, 0.2], [0.5, 0.25, 0.2]], rtol=1e-6)
    assert record["image_position"].shape == record["image_velocity"].shape == (128, 3, 2)
    assert np.isnan(record["image_position"]).all()


def test_unknown_masks_are_flagged(tree):
    _, short, without = _records(tree, "train")
    np.testing.assert_array_equal(short["segmented_frames"], np.arange(128) < 104)
    assert short["has_segmentation"]
    assert short["segmentation"][103].any()
    assert not short["segmentation"][104:].any()
    assert not without["has_segmentation"]
    assert not without["segmented_frames"].any()
    assert not without["segmentation"].any()


def test_the_test_split_has_no_annotation(tree):
    record = _records(tree, "test")[0]
    assert record["location"].shape == (128, 0, 3)
    assert record["image_position"].shape == (128, 0, 2)
    assert record["inside_camera_view"].shape == (128, 0)
    assert len(record["objects"]["color"]) == len(record["collisions"]["frame_id"]) == 0
    assert record["has_segmentation"]
    # Without annotations labels count by first appearance; the third disc enters later.
    assert set(np.unique(record["segmentation"][0])) == {0, 1, 2}
    assert set(np.unique(record["segmentation"][-1])) == {0, 1, 2, 3}


def test_real_positions_reach_evaluation_as_unknown(tree):
    batches = list(
        loaders.evaluation_batches(tree.summary.path, "test", num_frames=3, stride=4, batch_size=2)
    )
    assert batches[0]["image_position"].shape == (1, 3, 1, 2)
    assert np.isnan(batches[0]["image_position"]).all()
    np.testing.assert_array_equal(batches[0]["object_id"], [[-1]])


def test_strict_makes_the_first_problem_an_error(tree, tmp_path, capsys):
    arguments = ["clevrer", f"--raw_dir={tree.raw_dir}", f"--data_dir={tmp_path}", "--jobs=1", "--strict"]
    assert build.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "video_00001.mp4: " in captured.err
    assert captured.out == ""
    assert not list(tmp_path.rglob("*.array_record*"))
    with pytest.raises(ValueError, match="without --strict"):
        build.build("clevrer", "64x64", tree.summary.path.parents[2], strict=True)


def test_whole_frames_a_limit_and_two_processes(tree, tmp_path, mp4):
    config = build.make_config("clevrer", "64x96", limit=1)
    assert config.name == "64x96-limit_1"
    summary = build.build("clevrer", config, tmp_path, raw_dir=tree.raw_dir, jobs=2, progress=False)
    assert summary.videos == 3  # one of each split
    record = tfds.builder_from_directory(str(summary.path)).as_data_source("train")[0]
    np.testing.assert_array_equal(record["video"], read_video(mp4, 64, 96, crop=False))
    assert loaders.dataset_summary(summary.path).card is None


def test_parts_are_made_again_when_their_files_change(tmp_path, mp4, monkeypatch):
    monkeypatch.setattr(videos, "VIDEOS_PER_PART", 1)
    raw_dir = tmp_path / "raw"
    raw_dir.mkdir()
    (raw_dir / "video_00000.mp4").touch()  # cut off
    shutil.copy(mp4, raw_dir / "video_00001.mp4")
    options = dict(raw_dir=raw_dir, jobs=1, progress=False)
    for folder in ("as_it_was", "mended"):
        begun = build.build("clevrer", "64x64", tmp_path / folder, **options, shard=0, num_shards=2)
        assert begun.incomplete_splits == {"train": (1, 2)}
    as_it_was = build.build("clevrer", "64x64", tmp_path / "as_it_was", **options)
    assert len(as_it_was.skipped) == 1
    assert [int(record["scene_index"]) for record in open_split(as_it_was.path, "train").records] == [1]
    shutil.copy(mp4, raw_dir / "video_00000.mp4")
    mended = build.build("clevrer", "64x64", tmp_path / "mended", **options)
    assert (mended.splits, mended.skipped) == ({"train": 2}, ())
    # Later another archive is unzipped.
    shutil.copy(mp4, raw_dir / "video_10000.mp4")
    assert build.build("clevrer", "64x64", tmp_path / "mended").splits == {"train": 2}
    with pytest.raises(ValueError, match=r"no split 'validation', .*clevrer/64x64 --split=validation"):
        build.build("clevrer", "64x64", tmp_path / "mended", splits=["validation"])
    both = build.build("clevrer", "64x64", tmp_path / "mended", **options)
    assert both.splits == {"train": 2, "validation": 1}
    (raw_dir / "simulator.json").write_text(json.dumps({"simulator": "1"}))
    shutil.copy(mp4, raw_dir / "video_15000.mp4")
    with pytest.raises(ValueError, match="another origin, for only one of the two is simulated"):
        build.build("clevrer", "64x64", tmp_path / "mended", **options)


def test_a_simulated_tree_never_passes_for_clevrer(tree, tmp_path, mp4):
    raw_dir = tmp_path / "raw"
    raw_dir.mkdir()
    shutil.copy(mp4, raw_dir / "video_00000.mp4")
    (raw_dir / "simulator.json").write_text(json.dumps({"simulator": "1"}))
    summary = build.build("clevrer", "64x64", tmp_path, raw_dir=raw_dir, jobs=1, progress=False)
    assert loaders.dataset_summary(summary.path).card == {"simulator": "1"}


def test_a_name_in_two_places_is_refused(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "video_00003.mp4").touch()
    with pytest.raises(ValueError, match=r"video_00003\.mp4 is there twice.*a/.*b/"):
        find_videos(tmp_path)


def test_raw_folders_that_cannot_serve(tmp_path, capsys):
    cases = {
        "--jobs=1": "--raw_dir=FOLDER",
        f"--raw_dir={tmp_path}/nowhere": "does not exist",
        f"--raw_dir={tmp_path}": "holds no CLEVRER videos",
    }
    for argument, said in cases.items():
        assert build.main(["clevrer", f"--data_dir={tmp_path}/data", argument, "--jobs=1"]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1


def test_a_split_without_any_usable_video_is_refused(tmp_path, capsys):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "video_00000.mp4").touch()
    arguments = ["clevrer", f"--data_dir={tmp_path}/data", f"--raw_dir={tmp_path}/raw", "--jobs=1"]
    assert build.main(arguments) == 2
    assert "no usable video" in capsys.readouterr().err
    assert not build.built_splits(build.dataset_path("clevrer", "64x64", tmp_path / "data"))


def test_a_tree_of_the_simulator_gives_its_own_truth(tmp_path):
    """Through mp4, run-length masks and json at 480 x 320, against a rendering straight to 64 x 64."""
    command = "clevrer --split=validation --num_videos=2 --seed=1 --jobs=2 --supersampling=1"
    output = f"--output={tmp_path}/raw"
    subprocess.run(
        [sys.executable, "-m", "data_pipelines.simulator", *command.split(), output],
        check=True,
        capture_output=True,
        timeout=PATIENCE,
    )
    arguments = {"raw_dir": tmp_path / "raw", "jobs": 1, "progress": False, "strict": True}
    summary = build.build("clevrer", "64x64", tmp_path / "data", **arguments)
    assert loaders.dataset_summary(summary.path).splits == {"validation": 2}
    assert loaders.dataset_summary(summary.path).card["versions"]["mujoco-core"] == "4.0.1"
    builder = tfds.builder_from_directory(str(summary.path))
    kinds = builder.info.features["objects"].feature
    for record, index in zip(builder.as_data_source("validation"), (10000, 10001)):
        seed = video_seed(1, index)
        truth = simulate_video(CLEVRER, seed, height=64, width=64, supersampling=1)
        assert record["scene_index"] == index
        overlaps = []
        for number in range(1, len(truth.objects) + 1):
            read, drawn = record["segmentation"] == number, truth.segmentation == number
            union = (read | drawn).sum(axis=(1, 2))
            overlaps.append(((read & drawn).sum(axis=(1, 2)) / np.maximum(union, 1))[union > 0])
        assert sum(map(len, overlaps)) > 200
        assert np.concatenate(overlaps).mean() >= 0.97
        assert np.abs(record["video"].astype(float) - truth.video).mean() < 1.5

        for key in ("color", "material", "shape"):
            names = [kinds[key].int2str(int(number)) for number in record["objects"][key]]
            assert names == [getattr(scene_object, key) for scene_object in truth.objects]
        np.testing.assert_allclose(record["location"], truth.location, atol=1e-4)
        np.testing.assert_allclose(record["velocity"], truth.velocity, atol=1e-4)
        inside = generate_scene(CLEVRER, seed)[1].inside_camera_view[:128]
        np.testing.assert_array_equal(record["inside_camera_view"], inside)
        collisions = [(collision.frame_id, collision.object_ids) for collision in truth.collisions]
        assert len(collisions) >= 2
        read = record["collisions"]
        assert [
            (int(f), tuple(map(int, pair))) for f, pair in zip(read["frame_id"], read["object_ids"])
        ] == collisions
