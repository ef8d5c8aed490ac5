"""A run whose clips grow: what it computes, says and draws on the way."""

import json
import re

import pytest

from experiments.training import loop
from tests.experiments.tiny import get_config


@pytest.mark.slow
def test_clips_grow_and_pictures_are_drawn_on_the_way(data_dir, tmp_path, capsys):
    config = get_config()
    config.data.data_dir = str(data_dir)
    config.num_steps, config.curriculum, config.figures_every = 4, ((0.5, 3), (1.0, 4)), 2
    config.log_every, config.eval_every, config.save_every = 1, 100, 100
    loop.fit(config, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["frames"] for row in rows if row["split"] == "train"] == [3, 3, 4, 4]
    lines = capsys.readouterr().err.splitlines()
    announced = [line for line in lines if "compiling" in line]
    assert [line.partition(":")[0] for line in announced] == [
        "clips of 3 frames from step 0 on",
        "clips of 4 frames from step 2 on",
    ]

    # People see what matters, the files hold everything.
    (first,) = (line for line in lines if line.startswith("train step 1/4: loss "))
    for name in (
        "nats",
        "reconstruction",
        "prediction",
        "kl",
        "mse",
        "mask entropy",
        "slots used",
        "gradient norm",
    ):
        assert name in first
    assert re.search(r"KL of each [\d.]+/[\d.]+/[\d.]+, .* images/s, \d+% waiting for data, .* left$", first)
    assert {"slot_kl_1", "slot_kl_3", "kl", "data_wait_share"} <= rows[0].keys()

    # The pictures of the end are the program's business.
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        "step_2_clip_00.png",
        "step_2_clip_01.png",
    ]
    (events,) = (tmp_path / "tensorboard").glob("*.figures_2")
    assert b"step_2_clip_01" in events.read_bytes()


@pytest.mark.slow
def test_the_picture_gets_finer_on_the_way(data_dir, tmp_path, capsys):
    config = get_config()
    config.data.data_dir = str(data_dir)
    config.num_steps, config.resolutions = 4, ((0.5, 2), (1.0, 1))
    config.log_every, config.eval_every, config.save_every = 1, 2, 2
    loop.fit(config, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["coarseness"] for row in rows if row["split"] == "train"] == [2, 2, 1, 1]
    announced = [
        line.partition(":")[0] for line in capsys.readouterr().err.splitlines() if "compiling" in line
    ]
    assert announced == [
        "clips of 3 frames, 2 x 2 pixels averaged, from step 0 on",
        "clips of 3 frames from step 2 on",
    ]
