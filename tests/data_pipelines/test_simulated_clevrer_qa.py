"""Questions about simulated_clevrer's videos: the same scenes, and the simulator's card."""

import json
import subprocess
import sys

import pytest

from data_pipelines import build
from data_pipelines.annotations import COLORS
from data_pipelines.builders.clevrer_qa.records import open_questions
from data_pipelines.datasets import VERSION, open_split, read_index
from tests.conftest import PATIENCE

OPTIONS = dict(num_train=3, num_validation=2)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folders of some questions, and of the videos that they are about."""
    data_dir = tmp_path_factory.mktemp("data")
    questions = build.make_config("simulated_clevrer_qa", "quickstart", **OPTIONS)
    video_options = dict(height=8, width=8, num_frames=1, supersampling=1, **OPTIONS)
    videos = build.make_config("simulated_clevrer", "quickstart", **video_options)
    return [
        build.build(name, config, data_dir, jobs=1, progress=False).path
        for name, config in (("simulated_clevrer_qa", questions), ("simulated_clevrer", videos))
    ]


def test_the_questions_are_about_the_videos_of_the_same_index(built):
    questions_dir, videos_dir = built
    for split, first in (("train", 0), ("validation", 500_000)):
        videos = open_split(videos_dir, split)
        indices = [first + position for position in range(OPTIONS[f"num_{split}"])]
        assert [entry["scene_index"] for entry in videos.entries] == indices
        assert [entry["scene_index"] for entry in read_index(questions_dir, split)["entries"]] == indices
        colors = {
            index: {COLORS[color] for color in record["objects"]["color"]}
            for index, record in ((index, videos.records[place]) for place, index in enumerate(indices))
        }
        records = open_questions(questions_dir, split)
        asked = [records[place] for place in range(len(records))]
        answers = [
            (int(record["scene_index"]), record["answer"].decode())
            for record in asked
            if record["question_subtype"] == b"query_color"
        ]
        assert len(answers) > len(indices)
        assert all(color in colors[index] for index, color in answers)
        # They could not be mistaken for those of another video: its colours are others.
        assert any(color not in colors[other] for _, color in answers for other in indices)
        assert {int(record["scene_index"]) for record in asked} == set(indices)


def test_another_process_writes_the_same_bytes(built, tmp_path):
    options = [f"--{name}={value}" for name, value in OPTIONS.items()]
    command = [sys.executable, "-m", "data_pipelines.build", "simulated_clevrer_qa/quickstart", *options]
    subprocess.run([*command, f"--data_dir={tmp_path}"], check=True, capture_output=True, timeout=PATIENCE)
    ours = {path.name: path.read_bytes() for path in built[0].iterdir()}
    theirs = {path.name: path.read_bytes() for path in tmp_path.rglob(f"{VERSION}/*")}
    assert any("array_record" in name for name in ours) and ours == theirs


def test_the_card_and_the_summary(built):
    questions_dir = built[0]
    ours, theirs = (json.loads((path / "simulator.json").read_text()) for path in built)
    assert ours["config"] == theirs["config"] and ours["options"]["seed"] == theirs["options"]["seed"] == 0
    assert sum(entry["num_questions"] for entry in read_index(questions_dir, "train")["entries"]) == len(
        open_questions(questions_dir, "train")
    )


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"scenes": "towers"},
            "scenes must be one of clevrer, six_objects, quickstart, quickstart_long, not 'towers'",
        ),
        ({"num_train": 0}, "num_train must be 1 to 500000, not 0"),
        ({"num_validation": 500_001}, "num_validation must be 1 to 500000"),
        ({"seed": -1}, "seed is -1: a seed must be"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        build.make_config("simulated_clevrer_qa", "quickstart", **options)
