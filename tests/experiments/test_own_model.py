"""A model of one's own, one file and one config, through the real programs."""

import json

import jax
import numpy as np
import pytest

import oddn_jax
from experiments import command_line, figures, predict
from experiments.runs import run_folder

TOY = "tests.experiments.toy_model"


def call(program, arguments, *given):
    with pytest.raises(SystemExit) as end:
        command_line.run_tool(program.main, arguments, [f"{program.__name__}.py", *map(str, given)])
    return end.value.code


def test_a_model_of_ones_own_is_trained_scored_and_exported(run_program, data_dir, tmp_path, capsys):
    workdir, exported = tmp_path / "toy", tmp_path / "toy.safetensors"
    code, output = run_program(
        "-m",
        "experiments.train_baseline",
        "--config=tests/experiments/toy_config.py",
        "--config.num_steps=2",
        "--config.model.window=5",
        f"--config.data.data_dir={data_dir}",
        f"--workdir={workdir}",
    )
    assert code == 0, output
    assert "trained 2 steps" in output and "loss 0." in output
    assert len(list((workdir / "figures").glob("*.png"))) == 2
    config = run_folder.load_config(workdir)
    assert (config.system, config.model.window) == (f"{TOY}:Toy", 5)

    code, output = run_program("-m", "experiments.evaluate", f"--run={workdir}", "--limit=4")
    assert code == 0, output
    assert "Toy has no slots" in output and "prediction of 6 frames from 2" in output
    scores = json.loads((workdir / "metrics.json").read_text())["metrics"]
    assert scores["mse"]["n"] == 4 and "ari" not in scores and "dynamics_r2" not in scores

    code, output = run_program(
        "-m", "experiments.export_params", f"--run={workdir}", f"--output={exported}", "--jax_export"
    )
    assert code == 0, output
    assert [line for line in output.splitlines() if "jaxexport" in line] == [
        f"written to {tmp_path}/toy.{name}.jaxexport" for name in ("infer", "predict")
    ]
    # Reading a file imports nothing by a name that the file holds.
    code, output = run_program("-m", "experiments.evaluate", f"--export={exported}", "--limit=4")
    assert code == 2 and f"import {TOY} first" in output and len(output.splitlines()) == 1
    imported = (f"--export={exported}", "--limit=4", f"--import={TOY}")
    code, output = run_program("-m", "experiments.evaluate", *imported)
    assert code == 0, output
    assert json.loads((tmp_path / "toy.metrics.json").read_text())["metrics"] == scores

    __import__(TOY)
    model, params = oddn_jax.load(exported)
    video = jax.random.uniform(jax.random.key(0), (2, 8, 16, 16, 3))
    for name, given, ours in (
        ("infer", video, lambda: model.reconstruct(params, video, jax.random.key(0))),
        ("predict", video[:, :2], lambda: model.predict(params, video[:, :2], jax.random.key(0), 6)),
    ):
        content = bytearray((tmp_path / f"toy.{name}.jaxexport").read_bytes())
        found = jax.export.deserialize(content).call(given, np.uint32(0))
        found = found if name == "predict" else found["reconstruction"]
        np.testing.assert_allclose(found, ours(), rtol=1e-5, atol=1e-6)

    # What it lacks is left out of the figures and of the arrays.
    assert call(figures, figures.arguments, f"--run={workdir}", "--num_clips=1", "--num_scored_clips=2") == 0
    assert "left out: Toy segments nothing" in capsys.readouterr().err
    drawn = {path.stem for path in (workdir / "figures").iterdir() if "step_" not in path.name}
    assert drawn == {"decomposition_clip_00", "prediction_clip_00", "prediction_error", "learning_curves"}
    out = tmp_path / "out"
    assert call(predict, predict.arguments, f"--model={workdir}", f"--output={out}", "--num_steps=3") == 0
    arrays = np.load(out / "predictions.npz")
    assert sorted(arrays) == ["predicted_frames", "reconstruction", "source_frame", "video"]
    assert arrays["predicted_frames"].shape == (3, 16, 16, 3)


@pytest.mark.parametrize(
    "system, line",
    [
        ("nowhere.toy:Toy", "nowhere.toy cannot be imported: ModuleNotFoundError: No module named 'nowhere'"),
        (f"{TOY}:Joy", f"{TOY} has no VideoModel of that name"),
        ("Toy", "model 'Toy' is not one of ODDN, IODINE"),
        ("SRVP", "config.model is a ToyConfig, SRVP wants a SRVPConfig"),
    ],
)
def test_a_wrong_name_is_one_line(run_train, system, line):
    code, error = run_train(f"--config.system={system}")
    assert code == 2 and line in error and error.count("\n") == 1


@pytest.fixture
def run_train(data_dir, tmp_path, capsys):
    from experiments import train_baseline

    def run(*options):
        fixed = ("--config=tests/experiments/toy_config.py", f"--config.data.data_dir={data_dir}")
        with pytest.raises(SystemExit) as end:
            argv = ["train_baseline.py", *fixed, f"--workdir={tmp_path}/run", *options]
            command_line.run(train_baseline.main, train_baseline.QUICKSTART, argv)
        return end.value.code, capsys.readouterr().err

    return run
