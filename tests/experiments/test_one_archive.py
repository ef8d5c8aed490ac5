"""With one of CLEVRER's archives alone, the validation videos: all that does not train works."""

import argparse
import json

import pytest

from data_pipelines import build
from data_pipelines.simulator.__main__ import main as simulate
from experiments import evaluate, extract_latents, figures, predict
from experiments.evaluation import protocol
from experiments.training.loop import fit
from experiments.vqa import feature_files
from tests.experiments.tiny import get_config
from tests.experiments.untrained import write_run


@pytest.fixture(scope="module")
def raw_dir(tmp_path_factory):
    """Two validation videos in CLEVRER's format, which the simulator wrote."""
    folder = tmp_path_factory.mktemp("raw")
    options = "--split=validation --num_videos=2 --height=32 --width=48 --supersampling=1 --jobs=1"
    assert simulate(["clevrer", f"--output={folder}", *options.split()]) == 0
    return folder


@pytest.fixture(scope="module")
def data(raw_dir, tmp_path_factory):
    """What is built from them, with the options of programs that name it."""
    data_dir = tmp_path_factory.mktemp("data")
    arguments = [
        "clevrer/64x64",
        "--height=16",
        "--width=16",
        f"--raw_dir={raw_dir}",
        f"--data_dir={data_dir}",
    ]
    assert build.main([*arguments, "--jobs=1"]) == 0
    return ["--data=clevrer/64x64-height_16-width_16", f"--data_dir={data_dir}"]


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_run(folder, data_dir)
    return folder


def start(program, add_arguments, *arguments: str) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    program.main(parser.parse_args(arguments))


def test_it_is_scored_drawn_and_extracted(run, data, tmp_path, capsys):
    start(evaluate, protocol.add_arguments, f"--run={run}", *data, "--batch_size=2")
    record = json.loads((run / "metrics.json").read_text())
    assert (record["data"], record["split"]) == ("clevrer/64x64-height_16-width_16", "validation")
    assert record["num_clips"] == record["metrics"]["mse"]["n"] == 2
    options = ("--num_clips=1", "--num_scored_clips=2", f"--output={tmp_path}")
    start(figures, figures.arguments, f"--run={run}", *data, *options)
    assert (tmp_path / "report.html").is_file()
    start(extract_latents, extract_latents.add_arguments, f"--run={run}", *data, f"--output={tmp_path}/seen")
    assert list(feature_files.read_split(tmp_path / "seen", "validation")["scene_index"]) == [10000, 10001]


def test_it_is_predicted(run, raw_dir, tmp_path):
    (video, *_) = sorted(raw_dir.rglob("*.mp4"))
    options = (f"--input={video}", f"--model={run}", f"--output={tmp_path}", "--num_frames=6")
    start(predict, predict.arguments, *options)
    assert (tmp_path / "predictions.npz").is_file()


def test_training_says_what_it_lacks(data, tmp_path):
    config = get_config()
    config.data.name, config.data.config = data[0].removeprefix("--data=").split("/")
    config.data.data_dir = data[1].removeprefix("--data_dir=")
    message = r"has no split 'train', there are validation: build it with `.*clevrer/64x64\S* --split=train .*--raw_dir"
    with pytest.raises(ValueError, match=message):
        fit(config, tmp_path)
