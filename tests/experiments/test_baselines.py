"""The systems of the paper's tables, trained and scored by the real programs; what they carry survives a kill."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import command_line, evaluate, predict
from experiments import config as configs
from experiments.configs import baselines, clevrer
from experiments.evaluation import protocol
from experiments.runs import checkpoints
from experiments.training import loop, steps
from tests.experiments.tiny import get_config
from tests.experiments.untrained import write_run

OPTIONS = ("--config.num_steps=2", "--config.save_every=1", "--config.eval_every=2", "--config.log_every=1")


def call(program, arguments, *given):
    with pytest.raises(SystemExit) as end:
        command_line.run_tool(program.main, arguments, [f"{program.__name__}.py", *map(str, given)])
    return end.value.code


def sums(workdir, step):
    meta = json.loads((workdir / "checkpoints" / str(step) / "meta" / "metadata").read_text())
    return meta["params_sha256"], meta["state_sha256"]


def kill_after_the_first_step(workdir):
    """Leaves what a kill in the second step leaves."""
    shutil.rmtree(workdir / "checkpoints" / "2")
    shutil.rmtree(workdir / "figures")


@pytest.mark.parametrize(
    "system, collection",
    [("PROVIDE", "schedule"), pytest.param("SRVP", "batch_stats", marks=pytest.mark.slow)],
)
def test_what_a_model_carries_goes_on_after_a_kill(
    system, collection, run_program, data_dir, tmp_path, capsys
):
    workdir = tmp_path / "run"
    command = ("-m", "experiments.train_baseline", f"--config=tests/experiments/tiny.py:{system}", *OPTIONS)
    command = (*command, f"--config.data.data_dir={data_dir}", f"--workdir={workdir}")
    code, output = run_program(*command)
    assert code == 0, output
    assert "Warning" not in output and len(list((workdir / "figures").glob("*.png"))) == 2
    expected = sums(workdir, 2)
    first, second = (checkpoints.load_params(workdir, step)[collection] for step in (1, 2))
    if system == "PROVIDE":
        assert first["nll_weight"] > get_config(system).model.nll_weight  # its error is above the threshold
    else:
        assert any((x != y).any() for x, y in zip(jax.tree.leaves(first), jax.tree.leaves(second)))

    kill_after_the_first_step(workdir)
    config = get_config(system)
    config.num_steps, config.save_every, config.eval_every, config.log_every = 2, 1, 2, 1
    config.data.data_dir = str(data_dir)
    loop.fit(config, workdir)
    assert "weights: checkpoint 1 in" in capsys.readouterr().err
    assert sums(workdir, 2) == expected

    few = ("--limit=2", "--batch_size=2", "--num_frames=4")
    assert call(evaluate, protocol.add_arguments, f"--run={workdir}", *few) == 0
    assert ("SRVP has no slots" in capsys.readouterr().out) == (system == "SRVP")
    scores = json.loads((workdir / "metrics.json").read_text())["metrics"]
    assert len(scores["predicted_mse"]["mean"]) == 2
    assert ("ari" in scores) == (system == "PROVIDE") and "dynamics_r2" not in scores


def test_a_model_that_predicts_nothing_says_so(data_dir, tmp_path, capsys):
    write_run(tmp_path / "run", data_dir, "MONet")
    few = ("--limit=2", "--batch_size=2", "--num_frames=3")
    assert call(evaluate, protocol.add_arguments, f"--run={tmp_path}/run", *few) == 0
    said = capsys.readouterr().out
    assert "MONet predicts no frames" in said and "F-ARI" in said and "dynamics" not in said
    few = (f"--output={tmp_path}/out", "--num_frames=3")
    assert call(predict, predict.arguments, f"--model={tmp_path}/run", *few) == 2
    assert "MONet predicts no frames" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


VARIANTS = [f"{name}{rest}" for name in baselines.SYSTEMS for rest in ("", ",simulated", ",quickstart")]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_a_run(variant):
    config = baselines.get_config(variant)
    configs.check(config, num_devices=1)
    assert configs.from_json(json.loads(json.dumps(configs.to_json(config)))) == config
    size = (config.model.image_height, config.model.image_width)
    assert config.data.config in ("quickstart", f"{size[0]}x{size[1]}")
    assert config.data.name.startswith("simulated") == ("," in variant)
    like = clevrer.get_config("quickstart")
    if "quickstart" in variant:
        for name in ("num_steps", "batch_size", "curriculum", "schedule", "num_valid_clips", "data", "seed"):
            assert getattr(config, name) == getattr(like, name)
        params = jax.eval_shape(configs.make_model(config).initialize, jax.random.key(0))
        assert 1e4 < sum(leaf.size for leaf in jax.tree.leaves(params)) < 1e6


def test_variants_have_their_own_folders():
    assert len({baselines.get_config(variant).workdir for variant in VARIANTS}) == len(VARIANTS)


@pytest.mark.parametrize("variant", ["oddn,large", "simulated", "provide,no_relation", ""])
def test_an_unknown_variant_is_named(variant):
    with pytest.raises(ValueError, match=r"^unknown variant .*take one of oddn, no_relation"):
        baselines.get_config(variant)


def test_sizes_of_the_quickstart_are_those_of_oddn_s():
    like = clevrer.get_config("quickstart").model
    provide = baselines.get_config("provide,quickstart").model
    assert (provide.num_slots, provide.convolution_channels) == (like.num_slots, like.convolution_channels)
    assert provide.kl_weight == 10 != like.kl_weight
    assert baselines.get_config("iodine_linear_frame,quickstart").model.predictor_scope == "frame"
    assert baselines.get_config("srvp_dcgan,quickstart").model.coder == "dcgan"


def rates(config, steps_done):
    """What plain descent along a gradient of one would add, behind RMSprop or Adam."""
    optimizer = steps.make_optimizer(config)
    params = {"weight": jnp.zeros(1)}

    def step(state, _):
        update, state = optimizer.update({"weight": jnp.ones(1)}, state, params)
        return state, update["weight"][0]

    return -np.asarray(jax.lax.scan(step, optimizer.init(params), length=steps_done)[1])


def test_srvp_s_rate_falls_over_the_last_third():
    config = configs.TrainConfig(num_steps=9, learning_rate=0.3, schedule="linear_end", gradient_clip=0.0)
    np.testing.assert_allclose(rates(config, 9), [0.3] * 7 + [0.2, 0.1], rtol=1e-4)


def test_rmsprop_by_hand():
    config = configs.TrainConfig(num_steps=3, learning_rate=0.1, optimizer="rmsprop", gradient_clip=0.0)
    squares = 1 - 0.99 ** np.arange(1, 4)
    np.testing.assert_allclose(rates(config, 3), 0.1 / np.sqrt(squares + 1e-8), rtol=1e-3)


def test_an_older_run_is_an_oddn():
    values = configs.to_json(clevrer.get_config("quickstart"))
    del values["system"], values["optimizer"]
    assert configs.from_json(values) == clevrer.get_config("quickstart")
