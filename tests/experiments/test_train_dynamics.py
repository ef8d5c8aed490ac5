"""Dynamics learned from stored latents alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import oddn_jax
from experiments import train_dynamics
from experiments.command_line import run_tool
from experiments.training import latent_dynamics
from oddn_jax.losses import prediction_weights
from tests.experiments.tiny import make_model_config
from tests.experiments.untrained import write_run

CONFIG = dataclasses.replace(make_model_config("ODDN"), attend_current=False, use_relation=False)

BEFORE = oddn_jax.ODDN(CONFIG).initialize(jax.random.key(5))


def straight(videos: int) -> np.ndarray:
    """Latents [v 8 3 4] that move straight on, each slot in its own direction."""
    random = np.random.default_rng(videos)
    places, steps = random.normal(size=(2, videos, 1, 3, 4)) * [[[[[3.0]]]], [[[[0.3]]]]]
    return (places + steps * np.arange(8)[:, None, None]).astype(np.float32)


def learn(num_steps: int = 400, seed: int = 0):
    model = oddn_jax.ODDN(CONFIG)
    kinds = straight(100), straight(50)[:, 1:]  # their lengths differ
    return latent_dynamics.learn(model, BEFORE, kinds, straight(20), num_steps, seed)


def test_the_loss_written_out():
    config = dataclasses.replace(CONFIG, use_relation=True, student_forcing_depth=2)
    model = oddn_jax.ODDN(config)
    params, latents = model.initialize(jax.random.key(0)), jnp.asarray(straight(2))

    def distill(*frames):
        return model.apply({"params": params}, jnp.stack(frames, 1), method="distill").dynamics[:, 0]

    def follow(dynamics, current):
        updated = model.apply({"params": params}, dynamics, current, method="interact").updated_dynamics
        return model.apply({"params": params}, updated, current, method="predict_latents")

    errors = {target: [] for target in range(2, 8)}
    for start in range(1, 7):
        previous, current = latents[:, start - 1], latents[:, start]
        for target in range(start + 1, min(start + 3, 8)):
            previous, current = current, follow(distill(previous, current), current)
            errors[target].append(0.5 * ((current - latents[:, target]) ** 2).sum((1, 2)).mean())
    expected = np.mean([np.mean(of_target) for of_target in errors.values()])
    np.testing.assert_allclose(model.latent_loss(params, latents), expected, rtol=1e-5)
    assert prediction_weights(jnp.array([2, 3, 3]), 4).tolist() == [1, 0.5, 0.5]


def test_new_dynamics_begin_with_repeating_and_learn_to_go_on():
    params, error, copied = learn()
    assert params.keys() == BEFORE.keys()
    assert jax.tree.all(jax.tree.map(np.array_equal, params["decoder"], BEFORE["decoder"]))
    _, begun, _ = learn(num_steps=2)
    assert 0.8 < begun / copied < 1.5
    assert error < 0.65 * copied
    again, *_ = learn()
    jax.tree.map(np.testing.assert_array_equal, params, again)
    other, *_ = learn(seed=1)
    assert not np.array_equal(
        other["predictor"]["projection"]["kernel"], params["predictor"]["projection"]["kernel"]
    )


def test_dynamics_go_on_from_where_they_were():
    params, error, _ = learn(num_steps=20)
    model, kinds = oddn_jax.ODDN(CONFIG), (straight(100), straight(50)[:, 1:])
    _, begun, _ = latent_dynamics.learn(model, params, kinds, straight(20), 2, 0, go_on=True)
    assert begun == pytest.approx(error, rel=0.1)
    further, on, _ = latent_dynamics.learn(model, params, kinds, straight(20), 400, 0, go_on=True)
    assert on < 0.9 * error
    assert jax.tree.all(jax.tree.map(np.array_equal, further["decoder"], BEFORE["decoder"]))


def test_too_short_videos_say_so():
    with pytest.raises(ValueError, match="videos of 2 frames cannot be learned from"):
        latent_dynamics.learn(oddn_jax.ODDN(CONFIG), {}, [straight(4), straight(4)[:, :2]], straight(4), 2, 0)


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ending:
        run_tool(train_dynamics.main, train_dynamics.add_arguments, ["train_dynamics.py", *arguments])
    return ending.value.code


def test_a_run_becomes_a_file_with_the_slots_of_before(data_dir, tmp_path, capsys, monkeypatch):
    run, output = tmp_path / "run", tmp_path / "new.safetensors"
    write_run(run, data_dir)
    arguments = (f"--run={run}", f"--output={output}", "--num_steps=4", f"--features={tmp_path}/seen")
    assert call(*arguments, "--without_relation") == 0
    assert f"written to {output}" in capsys.readouterr().out
    oddn, params = oddn_jax.load(output)
    assert not oddn.config.use_relation and "relation" not in params
    facts = oddn_jax.read_provenance(output)["dynamics"]
    assert (facts["steps"], facts["split"]) == (4, "train")
    # No video has a clip of the paper's kind, and none is longer than a clip.
    assert facts["clips"] == [{"name": "first", "num_frames": 10, "videos": 15}]
    assert call(*arguments) == 0 and "16 videos are there, 0 to do" in capsys.readouterr().err
    _, whole = oddn_jax.load(output)
    assert "relation" in whole
    for name in ("decoder", "refinement"):
        jax.tree.map(np.testing.assert_array_equal, params[name], whole[name])

    assert call(*arguments, "--go_on", "--without_relation") == 0
    _, on = oddn_jax.load(output)
    assert "relation" not in on and oddn_jax.read_provenance(output)["dynamics"]["go_on"]

    monkeypatch.setattr(train_dynamics, "NUM_FRAMES", 5)  # shorter clips, and whole videos beside them
    assert call(*arguments[:-1], f"--features={tmp_path}/both", "--num_whole_videos=11") == 0
    assert oddn_jax.read_provenance(output)["dynamics"]["clips"] == [
        {"name": "first", "num_frames": 5, "videos": 15},
        {"name": "first", "num_frames": 10, "videos": 10},
    ]


@pytest.mark.parametrize(
    "arguments, line",
    [
        (["--num_steps=1"], "--num_steps must be at least 2, not 1"),
        (["--seed=-1"], "--seed"),
        (["--limit=3"], "--limit must be at least 10, not 3"),
        (["--num_whole_videos=9"], "--num_whole_videos must be at least 10, not 9"),
        (["--output=a.npz"], "--output=a.npz: the name must end in .safetensors"),
        (["--export=quickstart", "--data=nowhere"], "there is no data set 'nowhere'"),
    ],
)
def test_wrong_options(arguments, line, capsys):
    assert call(*arguments) == 2
    (said,) = capsys.readouterr().err.splitlines()[-1:]
    assert line in said
