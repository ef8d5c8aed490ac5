"""A built data set that lies damaged on the disk: one line says which file, and how to get it back."""

import multiprocessing.connection
import os
import shutil
import signal

import numpy as np
import pytest

from data_pipelines import build, loaders
from data_pipelines.builders.parts import Incomplete, Part
from data_pipelines.datasets import CARD_FILENAME, open_split, read_card, read_index
from data_pipelines.parallel import ordered_map
from data_pipelines.simulator import generate

CLIPS = dict(num_frames=2, stride=4, batch_size=1)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    config = build.make_config("simulated_clevrer", num_train=2, num_validation=1, height=8, width=8)
    data_dir = tmp_path_factory.mktemp("data")
    return build.build("simulated_clevrer", config, data_dir, jobs=1, progress=False).path


@pytest.fixture
def dataset(built, tmp_path):
    path = tmp_path.joinpath(*built.parts[-3:])
    shutil.copytree(built, path)
    return path


def _invert(path, start: int, stop: int | None) -> None:
    data = bytearray(path.read_bytes())
    data[start:stop] = bytes(255 - byte for byte in data[start:stop])
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: _invert(path, 200, 6000),
        lambda path: path.write_bytes(path.read_bytes()[:70_000]),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
    ],
    ids=["changed", "cut", "empty", "gone"],
)
def test_damaged_records_are_one_line_also_from_the_readers_threads(dataset, damage):
    (records,) = dataset.glob("*-train.array_record-*")
    damage(records)
    for read in (
        lambda: open_split(dataset, "train").records[0],
        lambda: list(open_split(dataset, "train").records),
        lambda: next(loaders.training_batches(dataset, "train", seed=0, **CLIPS)),
        lambda: list(loaders.evaluation_batches(dataset, "train", **CLIPS)),
    ):
        with pytest.raises(ValueError, match=r"\(train\): .*: remove .* and build it again") as caught:
            read()
        assert str(dataset) in str(caught.value) and len(str(caught.value).splitlines()) == 1
        assert "python -m data_pipelines.build simulated_clevrer/" in str(caught.value)
    (batch,) = loaders.evaluation_batches(dataset, "validation", **CLIPS)  # the other split is whole
    assert batch["video"].shape == (1, 2, 8, 8, 3)


@pytest.mark.parametrize("name", ["train.index.json", CARD_FILENAME, "dataset_info.json", "features.json"])
@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000, "3", '"é'])
def test_damaged_json_of_a_data_set_is_one_line(dataset, name, content):
    (dataset / name).write_text(content)

    def read():
        loaders.dataset_summary(dataset)
        build.verify("simulated_clevrer", dataset.parent.name, dataset.parents[2])
        open_split(dataset, "train")

    with pytest.raises(ValueError) as caught:
        read()
    assert len(str(caught.value).splitlines()) == 1 and str(dataset) in str(caught.value)


def test_records_are_those_of_the_split(dataset):
    split = open_split(dataset, "train")
    assert [int(record["scene_index"]) for record in split.records] == [0, 1]
    assert int(split.records[-1]["scene_index"]) == 1 and len(split.records) == 2
    with pytest.raises(IndexError):
        split.records[2]
    assert read_card(dataset)["simulator"] and len(read_index(dataset, "train")["entries"]) == 2


def test_a_part_whose_note_is_damaged_is_made_again(tmp_path):
    place, part = Incomplete(tmp_path / "data" / "2.0.0", "handmade", None), Part("train", 0)
    place.write(part, [], lambda example: b"")
    assert place.has(part)
    for content in ("", "[]", "{", "[" * 100_000):
        (place.folder / "train-00000.json").write_text(content)
        assert not place.has(part)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_while_sending() -> bytes:
    """The rest of the result is never sent."""

    def send_half(connection, message: bytes, write=os.write) -> None:
        write(connection.fileno(), message[: len(message) // 2])
        _die()

    multiprocessing.connection.Connection._send = send_half
    return bytes(1_000_000)


@pytest.mark.parametrize("death", [_die, _die_while_sending])
def test_a_killed_worker_is_one_line(death):
    with pytest.raises(OSError, match="worker process was killed") as caught:
        list(ordered_map([death, death, death], 2))
    assert len(str(caught.value).splitlines()) == 1


class _DyingWriter:
    def write(self, index: int) -> bytes:
        return _die_while_sending()


def test_a_simulator_process_killed_while_it_sends_is_one_line():
    with (
        pytest.raises(ChildProcessError, match="process ended with exit code -9"),
        generate._results(_DyingWriter(), [0, 1], jobs=2) as results,
    ):
        list(results)


def test_a_video_behind_a_broken_link_is_one_bad_item(tmp_path, scene, mp4, capsys):
    raw = tmp_path / "raw"
    raw.mkdir()
    for index in (0, 1):
        shutil.copy(mp4, raw / f"video_{index:05d}.mp4")
    (raw / "video_00001.mp4").unlink()
    (raw / "video_00001.mp4").symlink_to(tmp_path / "unplugged" / "video_00001.mp4")
    summary = build.build("clevrer", "64x64", tmp_path / "data", raw_dir=raw, jobs=1, progress=False)
    assert summary.splits == {"train": 1}
    assert any("video_00001.mp4" in file and "no such file" in reason for file, reason in summary.skipped)
    np.testing.assert_array_equal(open_split(summary.path, "train").records[0]["scene_index"], 0)
