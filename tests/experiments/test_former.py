"""What an earlier version wrote is read by this one: a run that goes on, an exported file, options that are gone."""

import dataclasses
import json
import pathlib
import zipfile

import jax
import numpy as np
import pytest

import oddn_jax
from experiments import config as configs
from experiments.runs import checkpoints, run_folder
from experiments.runs.trained import open_trained
from experiments.training.loop import fit
from oddn_jax import ODDNConfig
from oddn_jax.config import FORMER_OPTIONS, without_former_options

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


@pytest.fixture
def former_run(tmp_path) -> pathlib.Path:
    """Six steps of `tiny.get_config()` with an option and a value that are gone; tests/golden/README.md says how."""
    with zipfile.ZipFile(GOLDEN / "former_run.zip") as archive:
        archive.extractall(tmp_path / "run")
    return tmp_path / "run"


def assert_equal(trees):
    ours, theirs = map(jax.tree.leaves_with_path, trees)
    assert [path for path, _ in ours] == [path for path, _ in theirs]
    for (_, x), (_, y) in zip(ours, theirs):
        np.testing.assert_array_equal(x, y)


def test_a_former_run_is_opened_and_goes_on(former_run, data_dir):
    config = run_folder.load_config(former_run)
    assert config.model.remat == "step" and not hasattr(config.model, "qkv_bias")
    assert open_trained(run=str(former_run)).provenance["step"] == 6
    config.data.data_dir = str(data_dir)
    state = fit(config, former_run)  # finished: refuses if it held another config's checkpoints
    assert int(state.step) == 6
    assert_equal([dict(state.params), checkpoints.load_params(former_run)])


def test_a_former_export_is_read(former_run):
    model, params = oddn_jax.load(GOLDEN / "former_export.safetensors")
    assert model.config == run_folder.load_config(former_run).model
    assert_equal([params, checkpoints.load_params(former_run)])
    assert oddn_jax.read_provenance(GOLDEN / "former_export.safetensors")["step"] == 6


def test_an_option_that_is_gone_is_read_where_its_value_means_the_same():
    now = dataclasses.asdict(ODDNConfig())
    assert without_former_options(ODDNConfig, now | FORMER_OPTIONS | {"remat": "everything"}) == now | {
        "remat": "step"
    }
    with pytest.raises(ValueError, match=r"^qkv_bias=True is an option of an earlier version: [^\n]*$"):
        without_former_options(ODDNConfig, {"qkv_bias": True})

    @dataclasses.dataclass
    class Own:
        qkv_bias: bool = True
        remat: str = "everything"

    assert without_former_options(Own, {"qkv_bias": True, "remat": "everything", "other": 1}) == {
        "qkv_bias": True,
        "remat": "everything",
        "other": 1,
    }


def test_a_run_with_an_option_whose_meaning_is_gone_says_so(former_run):
    path = former_run / "config.json"
    values = json.loads(path.read_text())
    values["model"]["predictor_residual"] = True
    path.write_text(json.dumps(values))
    with pytest.raises(
        ValueError, match=r"config\.json cannot be read: config\.model\.predictor_residual=True is"
    ):
        run_folder.load_config(former_run)
    assert "model.predictor_residual" not in configs.flatten(configs.TrainConfig())
