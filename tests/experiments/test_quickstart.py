"""The quickstart: a shortened run, and the bare command."""

import contextlib
import json

import numpy as np
import pytest

from data_pipelines import build, loaders
from experiments import clevrer_pretrain
from experiments.configs import clevrer
from tests.conftest import PATIENCE


def read_metrics(workdir, split):
    rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [row for row in rows if row["split"] == split]


def mean_image_error(dataset_dir, num_frames):
    """Error of predicting the training frames' mean for every validation frame."""
    options = dict(num_frames=num_frames, stride=4, batch_size=32)
    with contextlib.closing(loaders.training_batches(dataset_dir, "train", seed=0, **options)) as batches:
        mean = np.mean([next(batches)["video"].mean((0, 1)) for _ in range(8)], 0)
    with contextlib.closing(loaders.evaluation_batches(dataset_dir, "validation", **options)) as batches:
        return np.mean([((batch["video"] - mean) ** 2).mean() for batch in batches])


@pytest.mark.slow
def test_a_shortened_quickstart_learns_and_draws(tmp_path, capsys):
    config = clevrer.get_config("quickstart")
    few = build.make_config("simulated_clevrer", "quickstart", num_train=12, num_validation=4)
    build.build("simulated_clevrer", few, tmp_path / "data", jobs=1, progress=False)
    config.data.config, config.data.data_dir = few.name, str(tmp_path / "data")
    config.num_steps, config.num_valid_clips, config.num_figure_clips = 40, 4, 1
    config.warmup_steps, config.log_every, config.eval_every, config.save_every = 5, 1, 40, 40
    clevrer_pretrain.main(config, tmp_path / "run")
    losses = [row["loss"] for row in read_metrics(tmp_path / "run", "train")]
    assert len(losses) == 40
    assert np.mean(losses[-5:]) < 0.7 * losses[0]
    assert len(list((tmp_path / "run" / "figures").glob("*.png"))) == 1
    printed = capsys.readouterr().out
    assert "trained 40 steps on simulated_clevrer/quickstart" in printed and "next:" in printed


@pytest.mark.slow
def test_the_bare_command(tmp_path, start_program):
    """On held-out clips the loss falls, the slots divide the scene, and the reconstruction beats the mean image."""
    workdir, data_dir = tmp_path / "run", tmp_path / "data"
    process = start_program(
        "-m", "experiments.clevrer_pretrain", f"--workdir={workdir}", f"--config.data.data_dir={data_dir}"
    )
    assert process.wait(timeout=4 * PATIENCE) == 0, process.output.read_text()
    valid = read_metrics(workdir, "valid")
    assert valid[-1]["loss"] < valid[0]["loss"] / 1.2
    assert valid[-1]["mask_entropy"] < 0.8
    path = build.dataset_path("simulated_clevrer", "quickstart", str(data_dir))
    assert valid[-1]["mse"] < 0.9 * mean_image_error(path, 3)
