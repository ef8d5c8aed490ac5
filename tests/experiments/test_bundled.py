"""The bundled model: what it scores on clips that it has not seen, and the programs without arguments."""

import argparse

import numpy as np
import pytest

import oddn_jax
from data_pipelines import build
from data_pipelines.datasets import open_split
from experiments.evaluation import protocol
from experiments.runs import trained
from tests.conftest import PATIENCE

CLIPS = 16


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The name of a data set of 16 validation clips, simulated, and where it lies."""
    return build.make_config(
        "simulated_clevrer", "quickstart", num_validation=CLIPS
    ).name, tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def scores(data):
    """Of all of its clips; scoring simulates them."""
    name, data_dir = data
    parser = argparse.ArgumentParser()
    protocol.add_arguments(parser)
    options = parser.parse_args(
        [
            f"--data=simulated_clevrer/{name}",
            f"--data_dir={data_dir}",
            "--export=quickstart",
        ]
    )
    return protocol.score(trained.open_trained(export="quickstart"), options)["metrics"]


def test_it_separates_objects_and_the_background(scores):
    assert scores["fg_ari"]["n"] == CLIPS
    assert scores["fg_ari"]["mean"] > 0.7
    assert scores["miou"]["mean"] > 0.5
    assert scores["ari"]["mean"] > 0.55


def test_it_draws_them(scores, data):
    """To a third of the error of the mean image, even of that of these clips."""
    records = open_split(build.dataset_path("simulated_clevrer", *data), "validation").records
    videos = np.stack([record["video"] for record in records]) / 255
    assert scores["mse"]["mean"] < ((videos - videos.mean((0, 1))) ** 2).mean() / 3


def test_it_predicts_better_than_repeating_the_last_frame(scores):
    """All six frames, on the average over the clips; on 100 clips the first has 0.81 of the other's error."""
    assert len(scores["predicted_mse"]["mean"]) == 6
    assert np.all(np.array(scores["predicted_mse"]["mean"]) < scores["copy_last_mse"]["mean"])


def test_its_dynamics_tell_the_velocity(scores):
    """On 100 clips R2 is 0.40; the map is fitted to eight of these 16."""
    assert scores["dynamics_r2"]["mean"] > 0.3


def test_the_header_states_such_scores(scores):
    stated = oddn_jax.read_provenance("quickstart")["metrics"]["metrics"]
    assert scores["fg_ari"]["mean"] == pytest.approx(stated["fg_ari"]["mean"], abs=0.1)
    assert scores["mse"]["mean"] == pytest.approx(stated["mse"]["mean"], rel=0.3)


@pytest.mark.slow
def test_the_first_minute(tmp_path, start_program):
    """Without arguments a fresh scene is simulated, taken apart and predicted by the bundled model."""
    process = start_program("-m", "experiments.predict", f"--output={tmp_path}/out")
    assert process.wait(timeout=PATIENCE) == 0, process.output.read_text()
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"decomposition.gif", "prediction.gif", "predictions.npz"} <= written
