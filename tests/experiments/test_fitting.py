"""What is chosen for a device unless it is named, how a run says and records it, and what to set if it does not fit."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import pytest

from data_pipelines import parallel
from experiments.configs import baselines, clevrer
from experiments.machine import fitting
from experiments.measuring.cost import count_flops
from experiments.reproduction import sweep
from experiments.runs import run_folder
from experiments.training import loop
from oddn_jax import ODDN
from oddn_jax.compilation import compiling_for, platform
from oddn_jax.inference import chosen_remat, scan_unroll
from tests.experiments.tiny import get_config

GIB = 2**30


def test_a_device_that_is_not_here_can_be_traced_for():
    here, model = platform(), clevrer.get_config("prediction").model
    with compiling_for("gpu"):
        assert (platform(), chosen_remat(model), scan_unroll(model, 4)) == ("gpu", "step", 1)
    assert platform() == here
    with compiling_for("cpu"):
        assert (chosen_remat(model), scan_unroll(model, 4)) == ("none", 4)
    model.remat = "none"
    with compiling_for("gpu"):
        assert chosen_remat(model) == "none"


def test_a_run_says_and_records_what_was_chosen(tmp_path):
    config = get_config()
    with compiling_for("gpu"):
        line = fitting.explain_choice(config)
        run_folder.open_run(tmp_path, config)
    assert "config.model.remat is 'step'" in line and "--config.model.remat=none" in line
    assert json.loads((tmp_path / "versions.json").read_text())["computation"] == {
        "compute_dtype": "float32",
        "remat": "step",
        "unroll": 0,
    }
    assert json.loads((tmp_path / "config.json").read_text())["model"]["remat"] == "auto"
    with compiling_for("cpu"):
        assert fitting.explain_choice(config) is None
    config.model.remat = "step"
    with compiling_for("gpu"):
        assert fitting.explain_choice(config) is None  # whoever named it knows


def test_the_start_of_a_run_tells(tmp_path, monkeypatch, capsys, data_dir):
    config = get_config()
    config.data.data_dir = str(data_dir)
    monkeypatch.setattr(loop, "explain_choice", lambda config: "chosen: this")
    with loop.contextlib.ExitStack() as stack:
        loop.open_run(config, tmp_path, stack)
    assert "chosen: this" in capsys.readouterr().err


def test_recomputing_leaves_out_the_decoder_s_pull_back():
    """Of a refinement the forward passes are repeated, not the gradient that the refinement network sees."""
    config = dataclasses.replace(get_config().model, num_refinement_steps=4)
    video = jax.ShapeDtypeStruct((1, 2, 16, 16, 3), jnp.float32)

    def flops(remat):
        model = ODDN(dataclasses.replace(config, remat=remat))
        params = jax.eval_shape(model.initialize, jax.random.key(0))

        def loss(params, video):
            return model.apply({"params": params}, video, jax.random.key(0), method="infer").nll.sum()

        with compiling_for("gpu"):
            return count_flops(loss, params, video), count_flops(jax.grad(loss), params, video)

    forward, kept = flops("none")
    _, again = flops("step")
    pull_back = (forward - flops_of_decodings(config, 4)) / 2  # what is left are refinements and pull-backs
    assert 0 < again - kept < forward - 0.5 * pull_back


def flops_of_decodings(config, number):
    model = ODDN(config)
    params = jax.eval_shape(model.initialize, jax.random.key(0))
    latents = jax.ShapeDtypeStruct((1, 2, config.num_slots, config.latent_size), jnp.float32)
    with compiling_for("gpu"):
        one = count_flops(lambda p, x: model.apply({"params": p}, x, method="decode"), params, latents)
    return number * one


@pytest.mark.parametrize(
    "words, wanted",
    [
        ("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 71403110400 bytes.", 71403110400),
        ("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 66.50GiB.", 66.5 * GIB),
        ("RESOURCE_EXHAUSTED: Out of memory allocating 1048576 bytes.", 1048576),
        ("RESOURCE_EXHAUSTED: something else", None),
    ],
)
def test_what_was_wanted_is_read(words, wanted):
    assert fitting.wanted_bytes(words) == wanted


def explain(config, gib, limit, num_devices=1):
    words = f"RESOURCE_EXHAUSTED: Out of memory while trying to allocate {gib}GiB"
    return fitting.explain_exhaustion(config, words, limit * GIB, num_devices)


def test_the_setting_that_fits_is_named():
    config = clevrer.get_config("prediction")
    config.model.remat = "none"
    line = explain(config, 61.3, 17.8)
    assert "wants 61.3 GiB of 17.8" in line and "--config.model.remat=step would take about" in line
    assert "bfloat16" not in line
    line = explain(config, 61.3, 7)
    assert "--config.model.remat=step --config.model.compute_dtype=bfloat16 would" in line
    line = explain(config, 61.3, 2.4)
    assert line.endswith("--config.batch_size=4 would take about 2.0 GiB") and "remat=step" in line
    assert "--config.batch_size=3 would" in explain(config, 61.3, 2.4, num_devices=3)
    assert "not even one clip" in explain(config, 61.3, 0.1)
    config.model.remat = "step"
    assert "remat" not in explain(config, 12.9, 9)
    # XLA does not always say how much it wanted, and on the CPU nobody knows how much there is.
    bare = fitting.explain_exhaustion(config, "RESOURCE_EXHAUSTED: something", None, 1)
    assert bare.endswith("lower --config.batch_size, or set --config.model.compute_dtype=bfloat16")


def test_a_system_that_recomputes_nothing_has_less_to_set():
    line = explain(baselines.get_config("srvp"), 30, 18)
    assert "remat" not in line and "--config.model.compute_dtype=bfloat16 would" in line


def test_as_many_runs_at_a_time_as_there_are_processors_and_memory_for(monkeypatch):
    assert GIB / 4 < fitting.available_memory() < 2**20 * GIB
    monkeypatch.setattr(parallel, "default_jobs", lambda: 16)
    for memory, jobs in ((GIB, 1), (13 * GIB, 4), (1000 * GIB, 16)):
        monkeypatch.setattr(fitting, "available_memory", lambda memory=memory: memory)
        assert sweep.default_jobs() == jobs
