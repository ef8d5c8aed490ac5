"""The block towers, real on hand-made strips and simulated, against what is known of them."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from data_pipelines import build, loaders
from data_pipelines.builders.block_towers.raw import choose_test_videos, find_towers, read_sample
from data_pipelines.builders.block_towers.strips import read_block_numbers, read_pictures, resize_by_area
from data_pipelines.builders.simulated_block_towers.simulated_block_towers_dataset_builder import (
    FIRST_INDEX,
    QUICKSTART,
)
from data_pipelines.configs import builder_class
from data_pipelines.datasets import read_indices
from data_pipelines.simulator import TOWERS, simulate_tower, video_seed
from data_pipelines.simulator.__main__ import main as simulate

SIDE = 224
FOLDER = "blocks_real/block_camera_combined_scaled2"
COLOR_IDS = (3, 1, 4, 2)
NAMES = {1: "red", 2: "yellow", 3: "green", 4: "blue"}


def make_frames(index: int, num_frames: int, num_blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """Blocks 40 pixels high, one on the other, that slide to the right; pixels tell video and frame."""
    pictures = np.full((num_frames, SIDE, SIDE, 3), (index, 0, 200), np.uint8)
    numbers = np.zeros((num_frames, SIDE, SIDE), np.uint8)
    for t in range(num_frames):
        pictures[t, ..., 1] = t
        for block in range(num_blocks):
            bottom = SIDE - 40 * block
            numbers[t, bottom - 40 : bottom, 20 + t : 90 + t] = block + 1
    pictures[numbers > 0, 2] = 50
    return pictures, numbers


def write_strip(path: Path, frames: np.ndarray, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(frames.reshape(-1, *frames.shape[2:]))
    if mode == "P":
        image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 0])
    elif mode is not None:
        image = image.convert(mode)
    assert image.mode == (mode or image.mode)
    image.save(path)


def row(index: int, num_blocks: int, fell: int) -> str:
    colors = [*COLOR_IDS[:num_blocks], *[0] * (4 - num_blocks)]
    return " ".join(map(str, [index, *[0.5] * 13, *colors, fell]))


@pytest.fixture(scope="module")
def raw_dir(tmp_path_factory) -> Path:
    """1 long, 2 short, 3 palette, 4 three channels, 5 masks missing, 6 masks damaged, 10 bad height, 11 cut off,
    12 no strip, 13 no row, 14 label of neither kind, 16 masks of other blocks, 17 a frame without mask."""
    root = tmp_path_factory.mktemp("towers")
    kinds = {1: (40, 4), 2: (16, 2)}
    for index in (1, 2, 3, 4, 5, 6, 10, 11, 13, 14, 16, 17):
        pictures, numbers = make_frames(index, *kinds.get(index, (16, 3)))
        if index == 10:
            pictures = pictures.reshape(-1, SIDE, 3)[None, :-1]
        if index == 6:
            numbers = numbers[:-1]
        if index == 16:
            numbers[numbers == 3] = 4
        if index == 17:
            numbers[5] = 0
        write_strip(root / FOLDER / f"img_concat_{index}.png", pictures)
        if index != 5:
            mode = {3: "P", 4: "RGB"}.get(index)
            write_strip(root / FOLDER / f"mask_order_{index}.png", numbers, mode)
    path = root / FOLDER / "img_concat_11.png"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (root / FOLDER / "img_frame1_1.png").write_text("not a strip")
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "img_concat_1.png").write_text("not a picture")
    fell = {1: 1, 2: 0, 14: 2}
    rows = [
        row(i, kinds.get(i, (16, 3))[1], fell.get(i, 1)) for i in (2, 1, 3, 4, 5, 6, 10, 11, 12, 14, 16, 17)
    ]
    (root / "blocks_real" / "real.txt").write_text("\n".join([*rows, "", ""]))
    return root


@pytest.fixture(scope="module")
def built(raw_dir, tmp_path_factory) -> build.BuildSummary:
    config = build.make_config("block_towers", height=32, width=16)
    data_dir = tmp_path_factory.mktemp("data")
    return build.build("block_towers", config, data_dir, raw_dir=raw_dir, jobs=1, progress=False)


def _records(summary: build.BuildSummary) -> dict[int, dict]:
    builder = tfds.builder_from_directory(str(summary.path))
    return {int(r["scene_index"]): r for s in builder.info.splits for r in builder.as_data_source(s)}


def test_usable_videos_are_kept_and_the_others_named(built):
    records = _records(built)
    assert sorted(records) == [1, 2, 3, 4, 5, 6, 16, 17]
    assert (built.videos, built.frames) == (8, 40 + 7 * 16)
    assert sorted((Path(file).name, reason) for file, reason in built.skipped) == [
        ("img_concat_10.png", "its 3583 rows are no whole number of frames of 224 x 224 pixels"),
        ("img_concat_11.png", "cannot be decoded, damaged or cut off?"),
        ("img_concat_12.png", "no such file below the raw folder"),
        ("real.txt", "has no row of video 13"),
        ("real.txt", "row of video 14: its last column is 2, neither 1 (fell) nor 0"),
    ]
    assert {Path(file).name: reason for file, reason in built.incomplete} == {
        "mask_order_5.png": "no such file below the raw folder, the video has no masks",
        "mask_order_6.png": "15 frames of 224 x 224, the pictures are 16 of 224 x 224",
        "mask_order_16.png": "shows a block 4, real.txt has 3 blocks",
        "mask_order_17.png": "masks for 15 of 16 stored frames, the others are marked unknown",
    }


def test_a_record_is_what_the_strip_shows(built):
    record = _records(built)[1]
    pictures, numbers = make_frames(1, 40, 4)
    assert record["video"].shape == (40, 32, 16, 3)
    # 224 pixels are 32 cells of 7 rows and 16 cells of 14 columns.
    means = pictures.reshape(40, 32, 7, 16, 14, 3).mean(axis=(2, 4))
    np.testing.assert_array_equal(record["video"], np.floor(means + 0.5))
    np.testing.assert_array_equal(record["segmentation"], numbers[:, 3::7, 7::14])
    assert record["segmented_frames"].all() and record["has_segmentation"]
    assert (record["fall"], record["num_blocks"], record["source_stride"]) == (True, 4, 1)
    assert (bytes(record["video_filename"]), record["scene_index"]) == (b"img_concat_1.png", 1)
    features = tfds.builder_from_directory(str(built.path)).info.features["objects"].feature
    names = [features["color"].int2str(int(number)) for number in record["objects"]["color"]]
    assert names == [NAMES[number] for number in COLOR_IDS]
    np.testing.assert_array_equal(record["objects"]["object_id"], range(4))
    assert record["inside_camera_view"].shape == (40, 4) and record["inside_camera_view"].all()
    for name, size in {"location": 3, "velocity": 3, "image_position": 2, "image_velocity": 2}.items():
        assert record[name].shape == (40, 4, size) and np.isnan(record[name]).all()
    assert len(record["collisions"]["frame_id"]) == 0


def test_the_kinds_of_masks(built):
    records = _records(built)
    _, numbers = make_frames(3, 16, 3)
    for index in (3, 4):  # a palette, three channels
        np.testing.assert_array_equal(records[index]["segmentation"], numbers[:, 3::7, 7::14])
    for index in (5, 6, 16):
        assert not records[index]["has_segmentation"] and not records[index]["segmented_frames"].any()
        assert records[index]["num_blocks"] == 3  # the table knows
        assert records[index]["inside_camera_view"].all()
    np.testing.assert_array_equal(records[17]["segmented_frames"], np.arange(16) != 5)
    assert (records[2]["fall"], records[2]["num_blocks"], len(records[2]["video"])) == (False, 2, 16)


def test_the_split_is_written_and_drawn(built, raw_dir, tmp_path):
    indices = read_indices(built.path)
    drawn = {split: [entry["scene_index"] for entry in of["entries"]] for split, of in indices.items()}
    usable = [1, 2, 3, 4, 5, 6, 10, 11, 14, 16, 17]  # before any file was opened
    test = choose_test_videos(usable, 0)
    assert len(test) == 2
    assert drawn["test"] == sorted(test & _records(built).keys()) != []
    assert drawn["train"] == sorted(_records(built).keys() - test)
    config = build.make_config("block_towers", height=8, width=8, limit=3, stride=5)
    limited = build.build("block_towers", config, tmp_path, raw_dir=raw_dir, jobs=1, progress=False)
    assert sorted(_records(limited)) == [1, 2, 3]
    assert loaders.dataset_summary(limited.path).splits == {"train": 2, "test": 1}
    pictures = make_frames(1, 40, 4)[0]
    np.testing.assert_array_equal(_records(limited)[1]["video"], resize_by_area(pictures[::5], 8, 8))
    assert limited.skipped == limited.incomplete == ()


def test_a_split_that_is_added_shares_no_video_with_the_other(built, raw_dir, tmp_path):
    some = tmp_path / "raw"
    shutil.copytree(raw_dir, some)
    test = {entry["scene_index"] for entry in read_indices(built.path)["test"]["entries"]}
    config = build.make_config("block_towers", height=8, width=8)
    for index in test:
        for path in some.rglob(f"*_{index}.png"):
            path.unlink()
    first = build.build(
        "block_towers", config, tmp_path, splits=["test"], raw_dir=some, jobs=1, progress=False
    )
    assert first.splits.keys() == {"test"}
    with pytest.raises(ValueError, match=r"would be in train and is in test: the raw files have changed"):
        build.build("block_towers", config, tmp_path, raw_dir=raw_dir, jobs=1, progress=False)


def test_as_many_test_videos_as_the_paper_in_proportion():
    sizes = {2: 1, 3: 1, 7: 1, 8: 2, 20: 4, 493: 100, 516: 105}
    assert {n: len(choose_test_videos(range(1, n + 1), 0)) for n in sizes} == sizes
    whole = choose_test_videos(range(1, 494), 0)
    assert whole == choose_test_videos(list(range(493, 0, -1)), 0) != choose_test_videos(range(1, 494), 1)
    assert len(whole & choose_test_videos(range(1, 493), 0)) >= 98  # one video less moves few others
    assert 180 < np.mean(sorted(whole)) < 314  # from everywhere: four standard deviations around 247
    with pytest.raises(ValueError, match="1 usable videos are too few"):
        choose_test_videos([7], 0)


def test_videos_of_different_lengths_are_batched(built):
    # 8 frames at stride 3 span 22: of the training videos only the first is long enough.
    train = {entry["scene_index"] for entry in read_indices(built.path)["train"]["entries"]}
    assert 1 in train and len(train) > 3
    options = {"num_frames": 8, "batch_size": 4, "seed": 0}
    batches = loaders.training_batches(built.path, "train", stride=3, **options)
    long = list(itertools.islice(batches, 12))
    batches.close()
    assert {int(index) for batch in long for index in batch["scene_index"]} == {1}
    starts = {int(start) for batch in long for start in batch["start_frame"]}
    assert starts <= set(range(19)) and max(starts) > 8
    batches = loaders.training_batches(built.path, "train", stride=2, **options)
    all_videos = list(itertools.islice(batches, 12))
    batches.close()
    assert {int(index) for batch in all_videos for index in batch["scene_index"]} == train
    for batch in all_videos:
        frames = batch["start_frame"][:, None] + 2 * np.arange(8)
        green = np.rint(batch["video"][:, :, 0, 0, 1] * 255)  # above the tower
        np.testing.assert_array_equal(green, frames)
        np.testing.assert_array_equal(
            batch["has_segmentation"],
            [
                index not in (5, 6, 16) and not (index == 17 and 5 in row)
                for index, row in zip(batch["scene_index"], frames)
            ],
        )
    (clips,) = loaders.evaluation_batches(built.path, "train", num_frames=8, stride=2, batch_size=16)
    assert set(clips["scene_index"]) == train
    assert np.isnan(clips["image_position"]).all() and clips["object_id"].max() == 3
    (clips,) = loaders.evaluation_batches(built.path, "train", num_frames=8, stride=3, batch_size=16)
    assert list(clips["scene_index"]) == [1]
    with pytest.raises(ValueError, match="videos of 40 stored frames"):
        loaders.training_batches(built.path, "train", stride=6, **options)


def test_a_table_of_two_columns(tmp_path):
    """Blocks are counted in the masks, colours are unknown; without masks the blocks are unknown too."""
    for index in (1, 2, 3):
        pictures, numbers = make_frames(index, 2, 4)
        write_strip(tmp_path / f"img_concat_{index}.png", pictures)
        if index > 1:
            write_strip(tmp_path / f"mask_order_{index}.png", numbers if index == 2 else numbers * 0)
    (tmp_path / "real.txt").write_text("1 1\n2 0.0\n3.0 1e0\n")
    samples = [read_sample(raw, 64, 64, 1) for raw in find_towers(tmp_path)]
    assert [sample.example["fall"] for sample in samples] == [True, False, True]
    assert [sample.example["num_blocks"] for sample in samples] == [0, 4, 0]
    assert samples[1].example["objects"]["color"] == [-1] * 4
    assert [len(sample.problems) for sample in samples] == [1, 0, 1]
    assert "shows no block" in samples[2].problems[0].reason
    config = build.make_config("block_towers")
    summary = build.build("block_towers", config, tmp_path / "data", raw_dir=tmp_path, jobs=1, progress=False)
    records = _records(summary)
    assert list(records[2]["objects"]["color"]) == [-1] * 4
    assert records[1]["location"].shape == (2, 0, 3) and records[1]["video"].shape == (2, 64, 64, 3)
    assert loaders.dataset_summary(summary.path).card is None


def test_pixels_are_means_of_the_areas_that_they_cover():
    frames = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    doubled = frames.repeat(2, axis=1).repeat(2, axis=2).astype(float)
    means = doubled.reshape(3, 64, 7, 64, 7, 3).mean(axis=(2, 4))  # 448 = 7 * 64
    small = resize_by_area(frames, 64, 64)
    assert small.dtype == np.uint8
    np.testing.assert_array_equal(small, np.floor(means + 0.5))
    np.testing.assert_array_equal(resize_by_area(small, 128, 192), small.repeat(2, 1).repeat(3, 2))


def test_damaged_and_foreign_strips_give_one_line(tmp_path):
    pictures, numbers = make_frames(1, 2, 4)
    path = tmp_path / "strip.png"
    write_strip(path, numbers * 50)
    with pytest.raises(ValueError, match="holds the value 200, but blocks are numbered 1 to 4"):
        read_block_numbers(path)
    write_strip(path, pictures)
    with pytest.raises(ValueError, match="coloured picture"):
        read_block_numbers(path)
    whole = path.read_bytes()
    lengths = np.linspace(0, len(whole) - 30, 12).astype(int)
    generator = np.random.default_rng(0)
    for length in lengths:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"strip\.png: cannot be decoded"):
            read_pictures(path)
        noise = bytearray(whole)
        noise[8 + generator.integers(25)] ^= 0xFF  # the header, which a checksum protects
        path.write_bytes(noise)
        with pytest.raises(ValueError, match=r"strip\.png: "):
            read_pictures(path)


@pytest.mark.parametrize(
    "table,said",
    [
        (None, "holds no real.txt"),
        ("one two\n", "line 1 is no row"),
        ("1 1\n\n2\n", "line 3 is no row"),
        ("0 1\n", "line 1 is no row"),
        ("1 1\n1 0\n", "line 2 is a second row of video 1"),
        ("1 1\n", "1 usable videos are too few"),
        (row(1, 0, 1) + "\n2 1", "its colours are 0 0 0 0, not ids from 1 to 4 and then 0"),
        (row(1, 2, 1).replace(" 3 1 0 0", " 3 0 1 0") + "\n2 1", "its colours are 3 0 1 0"),
        (row(1, 2, 1).replace(" 3 1 0 0", " 7 1 0 0") + "\n2 1", "its colours are 7 1 0 0"),
        ("1 1\n2 nan", "its last column is nan"),
    ],
)
def test_unusable_folders_give_one_line_and_exit_code_2(tmp_path, capsys, table, said):
    for index in (1, 2):
        pictures, numbers = make_frames(index, 1, 2)
        write_strip(tmp_path / f"img_concat_{index}.png", pictures)
        write_strip(tmp_path / f"mask_order_{index}.png", numbers)
    if table is not None:
        (tmp_path / "real.txt").write_text(table)
    arguments = [
        "block_towers",
        f"--raw_dir={tmp_path}",
        f"--data_dir={tmp_path}/data",
        "--jobs=1",
        "--strict",
    ]
    assert build.main(arguments) == 2
    captured = capsys.readouterr()
    assert said in captured.err and captured.err.count("\n") == 1 and captured.out == ""
    assert not list(tmp_path.rglob("*.array_record*"))


def test_strict_and_wrong_use(raw_dir, tmp_path, capsys):
    def refused(*arguments: str) -> str:
        assert build.main([*arguments, f"--data_dir={tmp_path}/data", "--jobs=1"]) == 2
        return capsys.readouterr().err

    strict = refused("block_towers", f"--raw_dir={raw_dir}", "--strict", "--height=8", "--width=8")
    assert "mask_order_5.png" in strict and strict.count("\n") == 1  # the first problem
    assert "--raw_dir=FOLDER" in refused("block_towers")
    assert "stride must be at least 1" in refused("block_towers", "--stride=0")
    assert "split_seed is -1: a seed must be" in refused("block_towers", "--split_seed=-1")
    assert "limit must be at least 0" in refused("block_towers", "--limit=-1")
    assert "towers must be one of" in refused("simulated_block_towers", "--towers=high")
    assert "span more than the 64 frames" in refused("simulated_block_towers", "--num_frames=18")
    with pytest.raises(FileNotFoundError, match=r"build block_towers/64x64 .* --raw_dir=FOLDER"):
        loaders.dataset_summary(build.dataset_path("block_towers", "64x64", tmp_path))
    (tmp_path / "real.txt").write_text("1 1\n")
    assert "holds no strips" in refused("block_towers", f"--raw_dir={tmp_path}")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "real.txt").write_text("1 1\n")
    assert "real.txt is there twice" in refused("block_towers", f"--raw_dir={tmp_path}")


def test_simulated_strips_are_read_back(tmp_path):
    options = ["--num_videos=3", "--size=40", "--num_frames=5", "--supersampling=1", "--seed=2", "--jobs=1"]
    assert simulate(["towers", f"--output={tmp_path}/raw", *options]) == 0
    for size, step in ((40, 1), (8, 5)):
        config = build.make_config("block_towers", height=size, width=size)
        summary = build.build(
            "block_towers", config, tmp_path, raw_dir=tmp_path / "raw", jobs=1, progress=False
        )
        assert summary.skipped == summary.incomplete == ()
        records = _records(summary)
        assert sorted(records) == [1, 2, 3]
        features = tfds.builder_from_directory(str(summary.path)).info.features["objects"].feature
        for index, record in records.items():
            tower = simulate_tower(
                video_seed(2, index), height=40, width=40, num_frames=5, supersampling=1, config=TOWERS
            )
            masks = tower.segmentation[:, step // 2 :: step, step // 2 :: step]
            np.testing.assert_array_equal(record["segmentation"], masks)
            np.testing.assert_array_equal(record["video"], resize_by_area(tower.video, size, size))
            assert (record["fall"], record["num_blocks"]) == (tower.fell, len(tower.objects))
            names = [features["color"].int2str(int(number)) for number in record["objects"]["color"]]
            assert names == [block.color for block in tower.objects]
        card = loaders.dataset_summary(summary.path).card
        assert card["options"]["seed"] == 2 and "simulator" in card  # never mistaken for real towers


def test_simulated_towers_are_what_the_simulator_gives(tmp_path):
    config = build.make_config("simulated_block_towers", num_train=3, num_test=2, seed=4, supersampling=1)
    summary = build.build("simulated_block_towers", config, tmp_path, jobs=1, progress=False)
    records = _records(summary)
    assert sorted(records) == [0, 1, 2, 500_000, 500_001]
    assert loaders.dataset_summary(summary.path).splits == {"train": 3, "test": 2}
    assert loaders.dataset_summary(summary.path).card["options"]["towers"] == "quickstart"
    expected = simulate_tower(
        video_seed(4, FIRST_INDEX["test"]),
        height=32,
        width=32,
        stride=4,
        num_frames=12,
        supersampling=1,
        config=QUICKSTART,
    )
    record = records[500_000]
    for name in ("video", "segmentation", "location", "velocity", "inside_camera_view", "image_position"):
        np.testing.assert_array_equal(record[name], getattr(expected, name))
    assert (record["fall"], record["num_blocks"]) == (expected.fell, len(expected.objects))
    (clips,) = loaders.evaluation_batches(summary.path, "test", num_frames=3, stride=4, batch_size=2)
    np.testing.assert_array_equal(clips["video"][0], expected.video[:3].astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(
        clips["image_position"][0, :, : len(expected.objects)], expected.image_position[:3]
    )
    assert clips["has_segmentation"].all()


def test_the_same_features_as_clevrer_and_two_more(built, tmp_path):
    towers = builder_class("block_towers")(data_dir=str(tmp_path), config="64x64").info.features
    clevrer = builder_class("clevrer")(data_dir=str(tmp_path), config="64x64").info.features
    assert set(towers) - set(clevrer) == {"fall", "num_blocks"} and set(clevrer) <= set(towers)
    assert json.dumps(towers["objects"].to_json(), sort_keys=True) == json.dumps(
        clevrer["objects"].to_json(), sort_keys=True
    )


def test_a_strip_of_impossible_size_is_one_bad_item(tmp_path, monkeypatch):
    write_strip(tmp_path / "img_concat_1.png", make_frames(1, 1, 2)[0])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # twice as many are refused by Pillow
    with pytest.raises(ValueError, match=r"img_concat_1\.png: .*exceeds limit"):
        read_pictures(tmp_path / "img_concat_1.png")
