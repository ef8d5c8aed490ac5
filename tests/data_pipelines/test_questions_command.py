"""`python -m data_pipelines.simulator questions`: same bytes however it is run, and clear refusals."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_pipelines.builders.clevrer_qa.raw import read_questions
from data_pipelines.simulator.__main__ import main
from data_pipelines.simulator.questions.truth import read_truth

SMALL = ("--scenes=quickstart", "--seed=3")


def run(root: Path, *options: str) -> int:
    return main(["questions", f"--output={root}", "--jobs=1", *SMALL, *options])


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    """What an undisturbed run writes."""
    root = tmp_path_factory.mktemp("whole")
    assert run(root, "--num_videos=5") == 0
    return root, contents(root)


def test_the_tree(five):
    root, written = five
    truths = [f"questions/truth/train/truth_00000-01000/truth_0000{i}.json" for i in range(5)]
    assert sorted(written) == sorted(["questions/simulator.json", "questions/train.json", *truths])
    scenes = json.loads(written["questions/train.json"])
    assert [scene["scene_index"] for scene in scenes] == list(range(5))
    read = list(read_questions(root / "questions" / "train.json", "train"))
    assert [len(scene.questions) for scene in read] == [len(scene["questions"]) for scene in scenes]
    assert json.loads(written["questions/simulator.json"])["options"] == {"seed": 3}
    truth = read_truth(root / truths[2])
    assert truth.num_frames == 37 and len(truth.counterfactual) == len(truth.attributes)


def test_bytes_do_not_depend_on_processes_or_on_what_is_there(five, tmp_path, capsys):
    assert run(tmp_path, "--num_videos=2", "--first_index=2") == 0
    capsys.readouterr()
    assert run(tmp_path, "--num_videos=5", "--jobs=2") == 0
    printed = capsys.readouterr().out
    assert "about 5 videos; 3 truths written, 2 already there" in printed
    assert contents(tmp_path) == five[1]


def test_a_killed_run_goes_on(five, tmp_path):
    command = [sys.executable, "-m", "data_pipelines.simulator", "questions", f"--output={tmp_path}"]
    process = subprocess.Popen(
        [*command, "--num_videos=5000", "--jobs=1", *SMALL],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not list(tmp_path.rglob("truth_*.json")):
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "questions" / "train.json").exists()
    assert run(tmp_path, "--num_videos=5") == 0
    there = contents(tmp_path)
    assert {name: there[name] for name in five[1]} == five[1]


def test_the_test_split_tells_no_answers(tmp_path):
    assert run(tmp_path, "--split=test", "--num_videos=2") == 0
    text = (tmp_path / "questions" / "test.json").read_text()
    scenes = json.loads(text)
    assert [scene["scene_index"] for scene in scenes] == [15000, 15001]
    assert len(list(read_questions(tmp_path / "questions" / "test.json", "test"))) == 2
    assert '"answer"' not in text and '"program"' not in text
    assert {tuple(question) for scene in scenes for question in scene["questions"]} >= {
        ("question_id", "question", "question_type", "question_subtype")
    }


def test_refusals(five, tmp_path, capsys):
    before = five[1]
    for options, reason in (
        (("--num_videos=1", "--seed=4"), "differs in options"),
        (("--num_videos=1", "--seed=-1"), "--seed: it is -1: a seed must be"),
        (("--num_videos=1", "--first_index=10000"), "train split holds indices 0 to 9999"),
        (("--num_videos=0",), "at least 1"),
    ):
        assert run(five[0], *options) == 2
        error = capsys.readouterr().err
        assert reason in error and error.count("\n") == 1
    assert contents(five[0]) == before

    broken = tmp_path / "questions" / "truth" / "train" / "truth_00000-01000" / "truth_00000.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{}")
    assert run(tmp_path, "--num_videos=1") == 2
    error = capsys.readouterr().err
    assert "truth_00000.json" in error and error.count("\n") == 1
    assert not (tmp_path / "questions" / "train.json").exists()


def test_questions_belong_to_the_videos_beside_them(tmp_path, capsys):
    drawing = (
        "--num_frames=2",
        "--height=8",
        "--width=12",
        "--supersampling=1",
        "--num_videos=1",
        "--jobs=1",
    )
    assert main(["clevrer", f"--output={tmp_path}", *SMALL, *drawing]) == 0
    assert run(tmp_path, "--num_videos=1") == 0
    capsys.readouterr()
    assert run(tmp_path, "--num_videos=1", "--scenes=clevrer") == 2
    error = capsys.readouterr().err
    assert "of other scenes" in error and error.count("\n") == 1
