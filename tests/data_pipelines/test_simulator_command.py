"""The command line: same bytes for any number of processes and after any interruption, clear refusals."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_pipelines.simulator.__main__ import main
from tests.conftest import PATIENCE

SMALL = ("--scenes=quickstart", "--num_frames=6", "--height=32", "--width=48", "--seed=7")


def command(*arguments):
    return [sys.executable, "-m", "data_pipelines.simulator", *arguments]


def run(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=PATIENCE)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def six_videos(tmp_path_factory):
    """What an undisturbed run writes."""
    root = tmp_path_factory.mktemp("whole")
    done = run("clevrer", f"--output={root}", "--num_videos=6", "--jobs=1", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "6 videos written, 0 already there" in done.stdout and "s per video" in done.stdout
    assert "6/6 videos" in done.stderr
    return contents(root)


def test_the_tree(six_videos):
    assert len(six_videos) == 6 * 3 + 1 and "simulator.json" in six_videos
    assert "videos/train/video_00000-01000/video_00005.mp4" in six_videos
    videos = [content for name, content in six_videos.items() if name.endswith(".mp4")]
    assert len(set(videos)) == 6


def test_bytes_do_not_depend_on_processes_or_on_what_is_there(six_videos, tmp_path):
    # The last two first, then the rest by two processes.
    first = run("clevrer", f"--output={tmp_path}", "--num_videos=2", "--first_index=4", "--jobs=1", *SMALL)
    rest = run("clevrer", f"--output={tmp_path}", "--num_videos=6", "--jobs=2", *SMALL)
    assert first.returncode == rest.returncode == 0
    assert "4 videos written, 2 already there" in rest.stdout
    assert contents(tmp_path) == six_videos
    again = run("clevrer", f"--output={tmp_path}", "--num_videos=6", *SMALL)
    assert again.returncode == 0 and "0 videos written, 6 already there" in again.stdout
    assert contents(tmp_path) == six_videos


def started(tmp_path):
    """A run that has written at least one video and is far from through."""
    process = subprocess.Popen(
        command("clevrer", f"--output={tmp_path}", "--num_videos=5000", "--jobs=2", *SMALL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(tmp_path.rglob("*.mp4")):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.005)
    return process


def test_a_killed_run_goes_on(six_videos, tmp_path):
    process = started(tmp_path)
    process.kill()
    process.communicate()
    there = contents(tmp_path)
    assert all(there[name] == six_videos[name] for name in there.keys() & six_videos.keys())
    again = run("clevrer", f"--output={tmp_path}", "--num_videos=6", "--jobs=2", *SMALL)
    assert again.returncode == 0
    there = contents(tmp_path)
    assert {name: there[name] for name in six_videos} == six_videos


def test_an_exit_inside_a_callback_of_a_compiler_ends_the_process():
    """Python goes on after an exception that C called it for; it would only print a traceback."""
    program = (
        "import ctypes, sys; from data_pipelines.simulator import generate\n"
        "sys.unraisablehook = generate.end_where_exit_is_ignored\n"
        "ctypes.CFUNCTYPE(None)(lambda: sys.exit(143))()\n"
        "print('went on')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_at_once(six_videos, tmp_path, number):
    process = started(tmp_path)
    os.kill(process.pid, number)
    output, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number and output == "" and "Traceback" not in error
    there = contents(tmp_path)
    assert all(there[name] == six_videos[name] for name in there.keys() & six_videos.keys())
    assert not [name for name in there if name.endswith(".partial")]


def test_another_config_is_refused(six_videos, tmp_path, capsys):
    arguments = ["clevrer", f"--output={tmp_path}", "--num_videos=1", "--jobs=1", *SMALL[:-1]]
    assert main([*arguments, "--seed=1"]) == 0
    before = contents(tmp_path)
    capsys.readouterr()
    assert main([*arguments, "--seed=2"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "differs in options" in error
    assert contents(tmp_path) == before


def test_splits(tmp_path):
    for split in ("validation", "test"):
        arguments = [f"--output={tmp_path}", f"--split={split}", "--num_videos=1", "--jobs=1", *SMALL]
        assert main(["clevrer", *arguments]) == 0
    assert sorted(contents(tmp_path)) == [
        "annotations/validation/annotation_10000-11000/annotation_10000.json",
        "derender_proposals/proposal_10000.json",
        "derender_proposals/proposal_15000.json",
        "simulator.json",
        "videos/test/video_15000-16000/video_15000.mp4",
        "videos/validation/video_10000-11000/video_10000.mp4",
    ]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["clevrer", "--num_videos=0"], "num_videos and jobs must be at least 1"),
        (["clevrer", "--jobs=0"], "num_videos and jobs must be at least 1"),
        (
            ["clevrer", "--first_index=9995"],
            "the train split holds indices 0 to 9999; asked for 9995 to 10004",
        ),
        (["clevrer", "--split=validation", "--first_index=3"], "holds indices 10000 to 14999"),
        (["clevrer", "--height=33"], "even height"),
        (["clevrer", "--seed=-1"], "--seed: it is -1: a seed must be"),
        (["towers", "--num_frames=65"], "towers have 1 to 64 frames; got 65"),
        (["towers", "--size=0"], "size >= 1"),
    ],
)
def test_wrong_values(arguments, message, tmp_path, capsys):
    assert main([*arguments, f"--output={tmp_path / 'out'}"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "clevrer|towers"),
        (["clevrer"], "--output"),
        (["clevrer", "--output=out", "--split=val"], "'train', 'validation', 'test'"),
        (["clevrer", "--output=out", "--num_video=3", "--colour"], "--colour"),
        (["towers", "--output=out", "--num_videos=many"], "invalid int value: 'many'"),
    ],
)
def test_wrong_arguments(arguments, message, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_folder_that_cannot_be_made(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["clevrer", f"--output={tmp_path / 'file' / 'out'}", "--num_videos=1"]) == 2
    error = capsys.readouterr().err
    assert "Not a directory" in error and error.count("\n") == 1


def test_towers(tmp_path):
    arguments = ["towers", f"--output={tmp_path}", "--size=32", "--num_frames=16", "--jobs=2"]
    assert main([*arguments, "--num_videos=2"]) == 0
    assert main([*arguments, "--num_videos=3"]) == 0
    rows = [[int(word) for word in line.split()] for line in (tmp_path / "real.txt").read_text().splitlines()]
    assert [len(row) for row in rows] == [19] * 3 and [row[0] for row in rows] == [1, 2, 3]
    for row in rows:
        strips = {
            kind: np.asarray(Image.open(tmp_path / "block_camera_combined_scaled2" / f"{kind}_{row[0]}.png"))
            for kind in ("img_concat", "mask_order", "mask_color")
        }
        assert strips["img_concat"].shape == (16 * 32, 32, 3)
        assert strips["mask_order"].shape == strips["mask_color"].shape == (16 * 32, 32)
        colors = [color for color in row[14:18] if color]
        assert 2 <= len(colors) == len(set(colors)) and row[18] in (0, 1)
        # The table says which colour each block of the tower has.
        assert (np.array([0, *colors])[strips["mask_order"]] == strips["mask_color"]).all()
        assert strips["mask_order"].max() == len(colors)
    # One process, one go: the same bytes.
    other = tmp_path / "other"
    single = ["towers", f"--output={other}", "--size=32", "--num_frames=16", "--jobs=1", "--num_videos=3"]
    assert main(single) == 0
    expected = contents(other)
    assert {name: data for name, data in contents(tmp_path).items() if "other" not in name} == expected
