"""The loop: what a run writes, how it goes on, and when it stops."""

import json
import shutil
import struct

import jax
import numpy as np
import pytest
from tensorboardX.proto import event_pb2

import oddn_jax
from data_pipelines import build, loaders
from experiments import config as configs
from experiments.config import TrainConfig
from experiments.machine import guards
from experiments.runs import checkpoints, run_folder
from experiments.runs.logs import MetricLog
from experiments.training import loop, steps, strips
from tests.experiments.tiny import get_config


@pytest.fixture
def config(data_dir) -> TrainConfig:
    config = get_config()
    config.data.data_dir = str(data_dir)
    return config


@pytest.fixture(scope="module")
def finished(data_dir, tmp_path_factory):
    """The folder and the state of a run that is through."""
    config = get_config()
    config.data.data_dir = str(data_dir)
    workdir = tmp_path_factory.mktemp("finished") / "run"
    return workdir, loop.fit(config, workdir)


def read_metrics(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_what_a_run_writes(finished, config):
    workdir, state = finished
    assert int(state.step) == 6
    rows = read_metrics(workdir)
    assert [(row["step"], row["split"]) for row in rows] == [
        (2, "train"),
        (3, "valid"),
        (4, "train"),
        (6, "train"),
        (6, "valid"),
    ]
    for row in rows:
        assert row["loss"] == pytest.approx(row["reconstruction"] + row["kl"] + row["prediction"], rel=1e-5)
        assert all(np.isfinite(value) for value in row.values() if not isinstance(value, str))
    assert {"gradient_norm", "update_norm", "images_per_second", "data_wait_share", "slot_usage"} <= rows[
        0
    ].keys()
    assert 0 <= rows[0]["data_wait_share"] < 1 and rows[0]["images_per_second"] > 0
    assert run_folder.load_config(workdir) == config
    versions = json.loads((workdir / "versions.json").read_text())
    assert versions["packages"]["jax"] == jax.__version__ and "cpu" in versions["devices"]
    assert list((workdir / "tensorboard").glob("events.*"))
    params = checkpoints.load_params(workdir, 6)
    assert checkpoints.digest(params) == checkpoints.digest(jax.device_get(state.params))
    assert checkpoints.digest(params) != checkpoints.digest(checkpoints.load_params(workdir, 3))


def test_the_validation_bound_is_that_of_the_parameters(finished, config):
    """The logged bound, computed again from the stored parameters and batches read one clip at a time."""
    workdir, _ = finished
    params = checkpoints.load_params(workdir, 3)
    path = build.dataset_path(config.data.name, config.data.config, config.data.data_dir)
    batches = loaders.evaluation_batches(path, "validation", num_frames=3, stride=4, batch_size=1, limit=8)
    loss = jax.jit(lambda params, *batch: steps.compute_losses(config, params, *batch)["loss"])
    values = [loss(params, b["video"], jax.random.key(0), b["example_id"].astype(np.uint32)) for b in batches]
    (logged,) = (row for row in read_metrics(workdir) if (row["step"], row["split"]) == (3, "valid"))
    assert len(values) == 8
    np.testing.assert_allclose(logged["loss"], np.mean(values), rtol=1e-5)


def test_a_finished_run_says_so(finished, config, capsys, monkeypatch):
    workdir, state = finished
    monkeypatch.setattr(steps, "make_train_step", None)  # nothing is compiled
    again = loop.fit(config, workdir)
    assert "finished" in capsys.readouterr().err
    assert checkpoints.digest(jax.device_get(again)) == checkpoints.digest(jax.device_get(state))


def copy_run(finished, tmp_path):
    return shutil.copytree(finished[0], tmp_path / "run")


def test_more_steps_go_on_and_other_options_do_not(finished, config, tmp_path, capsys):
    workdir = copy_run(finished, tmp_path)
    config.seed = 1
    with pytest.raises(ValueError, match=r"another config: seed \(0, now 1\); choose another --workdir$"):
        loop.fit(config, workdir)
    assert run_folder.load_config(workdir).seed == 0
    config.seed, config.num_steps = 0, 7
    state = loop.fit(config, workdir)
    assert int(state.step) == 7
    said = capsys.readouterr().err
    assert "going on although config.num_steps was 6, is 7" in said
    assert f"weights: checkpoint 6 in {workdir}" in said
    assert [row["step"] for row in read_metrics(workdir)] == [2, 3, 4, 6, 6, 7, 7]
    assert run_folder.load_config(workdir).num_steps == 7


@pytest.fixture
def broken_clip(monkeypatch):
    """The fifth batch of a run is no video."""
    place, placed = steps.place, []

    def place_broken(batch, mesh):
        placed.append(len(placed))
        return place(batch | {"video": batch["video"] * np.float32("nan" if len(placed) == 5 else 1)}, mesh)

    monkeypatch.setattr(steps, "place", place_broken)


def test_divergence_stops_the_run_and_keeps_the_last_good_checkpoint(config, tmp_path, broken_clip):
    config.save_every, config.log_every, config.eval_every = 2, 6, 100
    with pytest.raises(
        FloatingPointError,
        match=r"^loss is not finite at steps 5; .* last good checkpoint, of step 4, stays in ",
    ):
        loop.fit(config, tmp_path)
    params = checkpoints.load_params(tmp_path)
    assert sorted(entry.name for entry in (tmp_path / "checkpoints").iterdir()) == ["2", "4"]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))


def test_a_step_that_is_not_finite_changes_nothing_and_is_told(
    config, tmp_path, broken_clip, monkeypatch, capsys
):
    monkeypatch.setattr(loop, "MOST_SKIPPED", 0.2)
    config.save_every, config.log_every, config.eval_every, config.keep_checkpoints = 1, 6, 100, 6
    loop.fit(config, tmp_path)
    before, at, after = (
        checkpoints.digest(checkpoints.load_params(tmp_path, step=step)) for step in (4, 5, 6)
    )
    assert before == at != after
    assert "skipped, not finite: step 5 (loss)\n" in capsys.readouterr().err
    row = read_metrics(tmp_path)[0]
    assert row["split"] == "train" and row["step"] == 6 and row["steps_skipped"] == 1
    assert np.isfinite(row["loss"]) and np.isfinite(row["gradient_norm"])


def test_a_run_that_diverges_before_anything_is_saved_is_told_so(tmp_path):
    """No checkpoint stays where there has been none."""
    with pytest.raises(
        FloatingPointError, match=r"^loss is not finite; training stopped, before anything was saved in "
    ):
        with checkpoints.open_manager(tmp_path, 1):
            raise FloatingPointError("loss is not finite")


@pytest.mark.parametrize("form", ["run folder", "exported file"])
def test_weights_of_another_run(finished, config, tmp_path, capsys, form):
    params = checkpoints.load_params(finished[0])
    config.init_from = str(finished[0])
    if form == "exported file":
        config.init_from = str(tmp_path / "model.safetensors")
        oddn_jax.save(config.init_from, config.model, params)
    with checkpoints.open_manager(tmp_path, 1) as manager:
        state = loop.starting_state(config, steps.make_optimizer(config), steps.make_mesh(), manager)
    assert int(state.step) == 0
    assert checkpoints.digest(jax.device_get(state.params)) == checkpoints.digest(params)
    assert f"weights: config.init_from={config.init_from}" in capsys.readouterr().err
    shapes = jax.eval_shape(lambda: state.params)
    shapes["decoder"]["conv_0"]["bias"] = jax.ShapeDtypeStruct((5,), "f4")
    with pytest.raises(ValueError, match=r"does not fit config.model: decoder/conv_0/bias has shape \(8,\)"):
        loop.read_params(config.init_from, steps.make_model(config), shapes)


def test_fresh_parameters_do_not_come_from_the_other_run(finished, config, tmp_path):
    config.init_from, config.seed = str(finished[0]), 7
    config.fresh = ("distiller", "predictor")
    config.model.ffn_hidden_size += 1  # so the file's distiller would not even fit

    def start(folder):
        with checkpoints.open_manager(tmp_path / folder, 1) as manager:
            state = loop.starting_state(config, steps.make_optimizer(config), steps.make_mesh(), manager)
        return jax.device_get(state.params)

    params = start("a")
    new = jax.jit(lambda: steps.initial_state(config, steps.make_optimizer(config)).params)()
    held = checkpoints.load_params(finished[0])
    for name in params:
        source = jax.device_get(new) if name in config.fresh else held
        assert checkpoints.digest(params[name]) == checkpoints.digest(source[name])
    config.fresh = ("distiller",)
    config.init_from = "quickstart"  # a bundled model: of another size
    with pytest.raises(ValueError, match=r"^config.init_from=quickstart does not fit config.model"):
        start("b")
    config.fresh = ("dynamics",)
    with pytest.raises(ValueError, match=r"^config.fresh: no parameters dynamics; there are decoder"):
        start("c")


def test_frozen_parameters_stay_and_the_others_learn(finished, config, tmp_path):
    config.init_from, config.num_steps = str(finished[0]), 2
    config.frozen = ("decoder", "refinement", "initial_posterior")
    before = checkpoints.load_params(finished[0])
    after = jax.device_get(loop.fit(config, tmp_path / "run").params)
    changed = {name for name in before if checkpoints.digest(before[name]) != checkpoints.digest(after[name])}
    assert changed == set(before) - set(config.frozen) and "distiller" in changed
    config.frozen = ("encoder",)
    with pytest.raises(
        ValueError, match=r"^config.frozen: no parameters encoder; there are decoder, distiller"
    ):
        loop.fit(config, tmp_path / "other")


def test_the_reader_follows_the_curriculum_and_the_step(config):
    config.num_steps, config.curriculum = 4, ((0.5, 3), (1.0, 5))
    path = build.dataset_path(config.data.name, config.data.config, config.data.data_dir)
    straight = list(loop.training_batches(config, path, 0).__next__() for _ in range(1))
    stream = loop.training_batches(config, path, 0)
    batches = [next(stream) for _ in range(4)]
    stream.close()
    assert [batch["video"].shape for batch in batches] == [(4, frames, 16, 16, 3) for frames in (3, 3, 5, 5)]
    np.testing.assert_array_equal(straight[0]["video"], batches[0]["video"])
    resumed = loop.training_batches(config, path, 3)
    np.testing.assert_array_equal(next(resumed)["video"], batches[3]["video"])
    resumed.close()


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("model.image_height", 32, "holds images of 16x16, the model sees 32x16"),
        ("curriculum", ((1.0, 20),), "too few for clips of 20 frames"),
        ("batch_size", 16, "has 8 validation videos, fewer than config.batch_size 16"),
        ("data.stride", 3, "stride"),
    ],
)
def test_data_that_do_not_suit_are_refused(config, tmp_path, name, value, message):
    holder = config
    for part in name.split(".")[:-1]:
        holder = getattr(holder, part)
    setattr(holder, name.split(".")[-1], value)
    config.num_valid_clips = config.batch_size
    with pytest.raises(ValueError, match=message):
        loop.fit(config, tmp_path)


def test_an_exhausted_device_names_the_knobs(config):
    with pytest.raises(MemoryError, match=r"batch_size 4 .*remat.*compute_dtype"):
        with guards.explain_exhausted_memory(config):
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        with guards.explain_exhausted_memory(config):
            raise jax.errors.JaxRuntimeError("INTERNAL: something else")


def test_a_log_that_goes_on_tells_no_step_twice(tmp_path):
    lines = [json.dumps({"step": step, "split": "train", "loss": 1.0}) for step in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 4, "spl']))
    log = MetricLog(tmp_path, 2, 10)
    names = "reconstruction prediction kl mse mse_predicted mse_copy_last mask_entropy slot_usage slot_kl_1".split()
    log.write(3, "valid", {"loss": 2.0} | dict.fromkeys(names, 0.5))
    log.close()
    assert [(row["step"], row["loss"]) for row in read_metrics(tmp_path)] == [(1, 1.0), (2, 1.0), (3, 2.0)]


def test_tensorboard_shows_what_metrics_jsonl_holds(finished):
    workdir, _ = finished
    shown = {}
    for path in sorted((workdir / "tensorboard").glob("events*")):
        content, position = path.read_bytes(), 0
        while position < len(content):  # TFRecord: length, its check sum, the record, its check sum
            (length,) = struct.unpack_from("<Q", content, position)
            event = event_pb2.Event.FromString(content[position + 12 : position + 12 + length])
            position += 16 + length
            shown |= {
                (event.step, v.tag): v.simple_value for v in event.summary.value if v.tag.startswith("train")
            }
    held = {
        (row["step"], f"train/{name}"): value
        for row in read_metrics(workdir)
        if row["split"] == "train"
        for name, value in row.items()
        if name not in ("step", "split")
    }
    assert len(held) > 10 and shown.keys() == held.keys()
    for key, value in held.items():
        assert shown[key] == pytest.approx(value, rel=1e-6), key


def test_training_learns(config, tmp_path):
    config.num_steps, config.log_every = 15, 1
    config.eval_every = config.save_every = 100
    loop.fit(config, tmp_path)
    losses = [row["loss"] for row in read_metrics(tmp_path) if row["split"] == "train"]
    assert len(losses) == 15 and np.mean(losses[-5:]) < 0.75 * losses[0]


def test_figures_of_a_run(finished, config):
    workdir, state = finished
    path = build.dataset_path(config.data.name, config.data.config, config.data.data_dir)
    assert not strips.written(workdir, 6)
    files = strips.write(config, state.params, 6, path, workdir)
    assert [file.name for file in files] == ["step_6_clip_00.png", "step_6_clip_01.png"]
    assert sorted(workdir.glob("figures/*")) == files
    assert strips.written(workdir, 6) and not strips.written(workdir, 7)
    assert configs.longest_clip(config) == 3
