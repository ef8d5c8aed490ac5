"""The program that exports a run, as people start it."""

import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

import oddn_jax
from experiments import command_line, export_params
from experiments.runs import checkpoints, mean_frame, run_folder, trained
from oddn_jax.baselines import IODINE
from tests.experiments.tiny import get_config

STEPS = (0, 3)
MEAN_FRAME = np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8)


@pytest.fixture(scope="module")
def params():
    """The parameters that the run has at each of its steps."""
    model = oddn_jax.ODDN(get_config().model)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), method="initialize_parameters"))["params"]
    random = np.random.default_rng(0)
    return {
        step: jax.tree.map(lambda x: random.uniform(-0.3, 0.3, x.shape).astype(x.dtype), shapes)
        for step in STEPS
    }


@pytest.fixture
def workdir(params, tmp_path):
    config = get_config()
    config.seed = 7
    workdir = tmp_path / "run"
    run_folder.open_run(workdir, config)
    with checkpoints.open_manager(workdir, len(STEPS)) as manager:
        for step in STEPS:
            state = {"step": np.array(step, np.int32)}
            checkpoints.save(manager, step, params[step], state, run_folder.fingerprint(config))
    Image.fromarray(MEAN_FRAME).save(workdir / mean_frame.FILENAME)
    return workdir


@pytest.fixture
def run_export(capsys):
    """Runs the program in this process; returns its exit code, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            command_line.run_tool(
                export_params.main, export_params.add_arguments, ["export_params.py", *arguments]
            )
        return end.value.code, *capsys.readouterr()

    return run


def test_a_run_becomes_files_that_say_where_they_come_from(workdir, params, run_program, tmp_path):
    exported = tmp_path / "oddn.safetensors"
    code, output = run_program(
        "-m", "experiments.export_params", f"--run={workdir}", f"--output={exported}", "--jax_export"
    )
    assert code == 0, output
    files = [exported, *(tmp_path / f"oddn.{name}.jaxexport" for name in ("infer", "distill", "rollout"))]
    assert output == "".join(f"written to {path}\n" for path in files)

    model, loaded = oddn_jax.load(exported)
    assert model == oddn_jax.ODDN(get_config().model)
    jax.tree.map(np.testing.assert_array_equal, loaded, params[3])
    provenance, versions = oddn_jax.read_provenance(exported), run_folder.load_versions(workdir)
    assert provenance["data"]["name"] == "simulated_clevrer"
    assert (provenance["simulated"], provenance["step"], provenance["seed"]) == (True, 3, 7)
    for name in ("commit", "devices", "packages"):
        assert provenance[name] == versions[name]
    assert provenance["packages"]["jax"] == jax.__version__ and "metrics" not in provenance
    np.testing.assert_array_equal(trained.open_trained(export=str(exported)).mean_frame, MEAN_FRAME)
    (stage,) = provenance["stages"]
    assert stage["steps"] == 3 and stage["options"]["seed"] == 7 and "workdir" not in stage["options"]

    latents = np.random.default_rng(0).normal(size=(2, 2, 3, 4)).astype("f4")
    rollout = jax.export.deserialize(bytearray(files[3].read_bytes())).call(latents)
    expected = model.apply({"params": loaded}, jax.numpy.asarray(latents), num_steps=6, method="rollout")
    np.testing.assert_allclose(rollout["latents"], expected.latents, rtol=1e-4, atol=1e-5)
    assert rollout["decoded"]["reconstruction"].shape == (2, 6, 16, 16, 3)


@pytest.mark.parametrize("fate", ["kept", "gone", "emptied", "damaged", "overwritten by the later run"])
def test_what_has_become_of_an_earlier_run_is_no_obstacle(workdir, tmp_path, fate):
    """As of a run in `again` that began with that in `run`."""
    run = shutil.copytree(workdir, tmp_path / "again")
    record = json.loads((run / "config.json").read_text()) | {"init_from": f"{workdir}/"}
    (run / "config.json").write_text(json.dumps(record))
    if fate == "gone":
        shutil.rmtree(workdir)
    elif fate == "emptied":
        shutil.rmtree(workdir / checkpoints.FOLDER)
    elif fate == "damaged":
        (workdir / "config.json").write_text("{")
    elif fate != "kept":
        shutil.rmtree(workdir)
        run.rename(workdir)
        run = workdir
    stages = trained.open_trained(run=str(run)).provenance["stages"]
    assert [stage.get("steps") for stage in stages] == [3 if fate == "kept" else None, 3]
    assert fate == "kept" or stages[0] == {"file": "run"}


def test_metrics_of_the_step_go_with_it(workdir, params, run_export, tmp_path):
    metrics = {"step": 3, "metrics": {"ari": {"mean": 0.5, "standard_error": float("nan"), "n": 8}}}
    (workdir / "metrics.json").write_text(json.dumps(metrics))
    first, second, other = (f"{tmp_path}/{name}.safetensors" for name in ("first", "second", "other"))
    metrics["metrics"]["ari"]["standard_error"] = None

    assert run_export(f"--run={workdir}", f"--output={first}") == (0, f"written to {first}\n", "")
    assert oddn_jax.read_provenance(first)["metrics"] == metrics
    assert run_export(f"--export={first}", f"--output={second}")[0] == 0
    assert oddn_jax.read_provenance(second) == oddn_jax.read_provenance(first)
    jax.tree.map(np.testing.assert_array_equal, oddn_jax.load(second)[1], params[3])

    code, _, warning = run_export(f"--run={workdir}", "--step=0", f"--output={other}")
    assert (code, warning) == (
        0,
        f"{workdir}/metrics.json is of step 3, not 0: exported without metrics\n",
    )
    assert "metrics" not in oddn_jax.read_provenance(other)
    jax.tree.map(np.testing.assert_array_equal, oddn_jax.load(other)[1], params[0])


@pytest.mark.parametrize("content", ["{", "[]", '{"ari": 1}'])
def test_damaged_metrics_are_refused(workdir, run_export, tmp_path, content):
    (workdir / "metrics.json").write_text(content)
    code, _, error = run_export(f"--run={workdir}", f"--output={tmp_path}/x.safetensors")
    line = f"{workdir}/metrics.json cannot be read; `python -m experiments.evaluate` writes it again"
    assert (code, error) == (2, f"export_params: {line}\n")
    assert not (tmp_path / "x.safetensors").exists()


def test_options_other_than_in_training(workdir, params, run_export, tmp_path):
    (workdir / "metrics.json").write_text('{"step": 3}')  # of the options that it was trained with
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    code, *_ = run_export(
        f"--run={workdir}", f"--output={first}", "--set=num_refinement_steps=9", "--set", "rollout_mode=carry"
    )
    assert code == 0
    model, loaded = oddn_jax.load(first)
    assert (model.config.num_refinement_steps, model.config.rollout_mode) == (9, "carry")
    jax.tree.map(np.testing.assert_array_equal, loaded, params[3])
    provenance = oddn_jax.read_provenance(first)
    assert provenance["asked_with"] == {"num_refinement_steps": 9, "rollout_mode": "carry"}
    assert (
        provenance["stages"][-1]["options"]["model.num_refinement_steps"] == 2 and "metrics" not in provenance
    )
    # Once more, from the file: what was set before stays set. A whole number may stand for a float.
    changes = "num_refinement_steps=8", "kl_weight=2"
    assert run_export(f"--export={first}", f"--output={second}", "--set", *changes)[0] == 0
    asked_with = oddn_jax.read_provenance(second)["asked_with"]
    assert asked_with == {"num_refinement_steps": 8, "rollout_mode": "carry", "kl_weight": 2.0}
    assert all(type(of["kl_weight"]) is float for of in (asked_with, vars(oddn_jax.load(second)[0].config)))


@pytest.mark.parametrize(
    "change, line",
    [
        ("decodings=9", "model.decodings is not an option of this version"),
        ("num_refinement_steps=many", "model."),
        ("num_refinement_steps", "model."),
        ("num_tracking_steps=1", "num_tracking_steps=1 must be 0, or at least 2"),
        ("latent_size=3", "the model wants"),
        ("compute_dtype=float64", "needs the environment variable JAX_ENABLE_X64=1"),
    ],
)
def test_options_that_cannot_be_set(workdir, run_export, tmp_path, change, line):
    output = tmp_path / "model.safetensors"
    code, _, said = run_export(f"--run={workdir}", f"--output={output}", "--set", change)
    assert code == 2 and said.count("\n") == 1 and not output.exists()
    assert f"--set {change}: " in said and line in said


def test_iodine_stays_iodine(run_export, tmp_path):
    config = get_config().model
    model = IODINE(config)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), method="initialize_parameters"))["params"]
    params = jax.tree.map(lambda leaf: np.ones(leaf.shape, "f4"), shapes)
    oddn_jax.save(tmp_path / "iodine.safetensors", config, params, model=IODINE, provenance={"step": 1})
    code, _, said = run_export(
        f"--export={tmp_path}/iodine.safetensors", f"--output={tmp_path}/x.safetensors"
    )
    assert code == 0 and oddn_jax.load(tmp_path / "x.safetensors")[0] == model
    assert said == f"exported without the mean training frame: {tmp_path}/iodine.safetensors has none\n"


@pytest.mark.parametrize("foreign", [7, "no base 64", "bm8gcGljdHVyZQ==", None])
def test_other_programs_may_mean_something_else_by_that_name(foreign):
    assert mean_frame.of_text(foreign) is None


@pytest.mark.parametrize(
    "arguments, line",
    [
        (["--output={tmp}/model.npz"], "--output={tmp}/model.npz: the name must end in .safetensors"),
        (["--output={tmp}/a/x.safetensors"], "--output: there is no folder {tmp}/a; make it first"),
        (["--run={tmp}/none"], "{tmp}/none is no run folder: it has no config.json"),
        (
            ["--step=1"],
            "{run} holds only steps 0, 3: train there first, or give the folder of a finished run",
        ),
        (
            ["--export={tmp}/none.safetensors"],
            "{tmp}/none.safetensors: no such file, nor the name of a bundled model (clevrer, clevrer_wide, "
            "clevrer_wide_reasoner, quickstart, quickstart_reasoner)",
        ),
    ],
)
def test_wrong_use_is_one_line_and_no_file(workdir, run_export, tmp_path, arguments, line):
    arguments = [argument.format(tmp=tmp_path) for argument in arguments]
    source = [] if any(a.startswith(("--run", "--export")) for a in arguments) else [f"--run={workdir}"]
    output = (
        [] if any(a.startswith("--output") for a in arguments) else [f"--output={tmp_path}/x.safetensors"]
    )
    code, printed, error = run_export(*source, *output, *arguments)
    assert (code, printed, error) == (2, "", f"export_params: {line.format(tmp=tmp_path, run=workdir)}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_without_flatbuffers_nothing_is_written(workdir, run_export, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, error = run_export(f"--run={workdir}", f"--output={tmp_path}/x.safetensors", "--jax_export")
    line = 'serialised functions need the package flatbuffers: pip install "oddn_jax[export]"'
    assert (code, error) == (2, f"export_params: --jax_export: {line}\n")
    assert not (tmp_path / "x.safetensors").exists()


def test_functions_of_an_earlier_export_are_pointed_out(workdir, run_export, tmp_path):
    (tmp_path / "x.infer.jaxexport").write_bytes(b"earlier")
    code, _, warning = run_export(f"--run={workdir}", f"--output={tmp_path}/x.safetensors")
    assert (code, warning) == (0, "WARNING: x.infer.jaxexport beside it is of an earlier export\n")
    assert (tmp_path / "x.infer.jaxexport").read_bytes() == b"earlier"
