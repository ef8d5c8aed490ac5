"""Raw files where people keep them: behind links, in loops of links; and what a split lacks as a whole."""

import os
import shutil
from pathlib import Path

import pytest

from data_pipelines import build
from data_pipelines.builders.block_towers.raw import find_table, find_towers
from data_pipelines.builders.clevrer.raw import find_videos
from data_pipelines.builders.clevrer_qa.raw import find_question_files
from data_pipelines.raw_files import find_files
from tests.data_pipelines.handmade import write_json


def _touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_files_behind_linked_folders_are_found_and_loops_end(tmp_path):
    disk, raw = tmp_path / "disk", tmp_path / "raw"
    _touch(disk / "a" / "deep" / "1", disk / "b" / "2", raw / "3", raw / "__MACOSX" / "4")
    (raw / "linked").symlink_to(disk, target_is_directory=True)
    (raw / "again").symlink_to(disk / "b", target_is_directory=True)  # is entered once
    (disk / "a" / "up").symlink_to(raw, target_is_directory=True)
    (disk / "b" / "self").symlink_to(disk / "b" / "self")
    assert sorted(path.name for path in find_files(raw)) == ["1", "2", "3", "self"]
    (tmp_path / "raw_link").symlink_to(raw, target_is_directory=True)
    assert sorted(path.name for path in find_files(tmp_path / "raw_link")) == ["1", "2", "3", "self"]


def test_each_data_set_is_found_behind_links(tmp_path):
    elsewhere, raw = tmp_path / "elsewhere", tmp_path / "raw"
    _touch(elsewhere / "videos" / "video_00003.mp4", elsewhere / "masks" / "proposal_00003.json")
    _touch(elsewhere / "annotations" / "annotation_00003.json", elsewhere / "questions" / "val.json")
    _touch(elsewhere / "towers" / "img_concat_1.png", elsewhere / "towers" / "mask_order_1.png")
    (elsewhere / "towers" / "real.txt").write_text("1 1\n")
    raw.mkdir()
    for folder in elsewhere.iterdir():
        (raw / folder.name).symlink_to(folder, target_is_directory=True)
    (video,) = find_videos(raw)["train"]
    assert (video.video.name, video.annotation.name) == ("video_00003.mp4", "annotation_00003.json")
    assert video.proposal.name == "proposal_00003.json" and video.problems == ()
    assert find_table(raw).parts[-2:] == ("towers", "real.txt")
    (tower,) = find_towers(raw)
    assert (tower.pictures.name, tower.masks.name, tower.problems) == (
        "img_concat_1.png",
        "mask_order_1.png",
        (),
    )
    assert find_question_files(raw)["validation"].name == "val.json"


def test_one_file_behind_two_links_is_not_there_twice(tmp_path):
    _touch(tmp_path / "disk" / "video_00000.mp4", tmp_path / "raw" / "video_00001.mp4")
    for folder in ("a", "b"):
        (tmp_path / "raw" / folder).mkdir()
        (tmp_path / "raw" / folder / "video_00000.mp4").symlink_to(tmp_path / "disk" / "video_00000.mp4")
    assert [video.index for video in find_videos(tmp_path / "raw")["train"]] == [0, 1]
    (tmp_path / "raw" / "b" / "video_00000.mp4").unlink()
    shutil.copy(tmp_path / "disk" / "video_00000.mp4", tmp_path / "raw" / "b")
    with pytest.raises(ValueError, match=r"video_00000\.mp4 is there twice"):
        find_videos(tmp_path / "raw")


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    _touch(tmp_path / "raw" / "video_00000.mp4", tmp_path / "raw" / "closed" / "annotation_00000.json")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # the superuser may read all
    with pytest.raises(OSError, match=r"closed: what it holds cannot be read \(Permission denied\)"):
        find_videos(tmp_path / "raw")


def test_what_a_split_lacks_as_a_whole_is_said(tmp_path):
    for index in (0, 1, 15000):
        _touch(tmp_path / f"video_{index:05d}.mp4")
    _touch(tmp_path / "annotation_10000.json", tmp_path / "proposal_15000.json")
    videos = find_videos(tmp_path)
    said = [f"{problem.file}: {problem.reason}" for problem in videos["train"][0].problems]
    assert said == [
        "video_*.mp4: validation has none, though it has annotations: the split is left out",
        "annotation_*.json: train has none: no objects, positions, collisions",
        "proposal_*.json: train has none: no video has masks",
    ]
    assert videos["train"][1].problems == videos["test"][0].problems == ()  # CLEVRER annotates no test video


def test_a_split_without_masks_is_incomplete_and_an_error_with_strict(tmp_path, scene, mp4, capsys):
    raw = tmp_path / "raw"
    raw.mkdir()
    shutil.copy(mp4, raw / "video_00000.mp4")
    write_json(raw / "annotation_00000.json", scene.annotation)
    arguments = ["clevrer", f"--raw_dir={raw}", f"--data_dir={tmp_path}/data", "--jobs=1"]
    assert build.main([*arguments, "--strict"]) == 2
    line = "proposal_*.json: train has none: no video has masks"
    assert capsys.readouterr().err == f"build: {line}\n"
    assert build.main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == f"incomplete: {line}\n" and f"incomplete  1\n            {line}" in captured.out
    assert build.main([*arguments, "--strict"]) == 2  # though it is built


def test_towers_without_any_mask_are_said_to_have_none(tmp_path):
    (tmp_path / "real.txt").write_text("1 1\n2 0\n3 0\n")
    _touch(tmp_path / "img_concat_2.png", tmp_path / "img_concat_3.png")
    towers = find_towers(tmp_path)
    assert [len(tower.problems) for tower in towers] == [1, 1, 0]
    assert towers[1].problems[0].file == "mask_order_*.png" and not towers[1].problems[0].skipped
