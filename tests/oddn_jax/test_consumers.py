"""What other projects do with a trained model: read its parameters, or run its functions, with none of our code."""

import dataclasses
import json
import pathlib
import subprocess
import sys

import jax
import jaxtyping
import numpy as np
import pytest

import oddn_jax
from oddn_jax.baselines import IODINE
from oddn_jax.serialized import serialize_functions as serialize
from tests.conftest import CACHE

ROOT = pathlib.Path(__file__).parents[2]
SEED = 5

# Makes an interpreter find the standard library and the packages ALLOWED and nothing else, as if only these were there.
ONLY_ALLOWED = """
import sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder

class OnlyAllowed:
    @staticmethod
    def find_spec(name, path=None, target=None):
        package = name.partition(".")[0]
        if package in ALLOWED | sys.stdlib_module_names or package.startswith("_sysconfigdata"):
            return PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [BuiltinImporter, FrozenImporter, OnlyAllowed]
for name in ("flax", "oddn_jax", "jaxtyping"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} can be imported")
"""
JAX = {"jax", "jaxlib", "numpy", "ml_dtypes", "opt_einsum", "scipy"}

READ_PARAMETERS = """
import json
import jax.numpy as jnp, numpy as np, safetensors, safetensors.numpy

with safetensors.safe_open("model.safetensors", framework="numpy") as file:
    header = file.metadata()
params = safetensors.numpy.load_file("model.safetensors")
config, provenance = json.loads(header["config"]), json.loads(header["provenance"])
given = np.load("inputs.npz")
inputs = jnp.concatenate([given["dynamics"], given["latents"][0]], -1)
assert inputs.shape[-1] == config["dynamics_size"] + config["latent_size"]
np.savez("outputs.npz", predicted=inputs @ params["predictor/projection/kernel"], step=provenance["step"])
"""

RUN_FUNCTIONS = """
import pathlib
import jax, jax.export, numpy as np

def read(name):
    return jax.export.deserialize(bytearray(pathlib.Path(f"model.{name}.jaxexport").read_bytes())).call

infer, distill, rollout = map(read, ("infer", "distill", "rollout"))
given = np.load("inputs.npz")
outputs = {}
for clip in ("one", "two"):  # another batch size and number of frames
    inferred = infer(given[clip], np.uint32(SEED))
    outputs[clip] = inferred, distill(inferred["latents"]), rollout(inferred["latents"])
leaves, _ = jax.tree_util.tree_flatten_with_path(outputs)
np.savez("outputs.npz", **{jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves})
"""


def serialize_functions(model, params):
    """Without the checks of annotations, which cannot compare symbolic axes."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        return serialize(model, params)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def clips():
    random = np.random.default_rng(1)
    return {"one": random.random((1, 2, 8, 12, 3), "f4"), "two": random.random((2, 3, 8, 12, 3), "f4")}


@pytest.fixture(scope="module")
def folder(tiny, clips, tmp_path_factory):
    """What the consumers find: a model's files and inputs."""
    model, params = tiny[0], tiny[1]["params"]
    folder = tmp_path_factory.mktemp("consumer")
    oddn_jax.save(folder / "model.safetensors", model.config, params, provenance={"step": 300})
    for name, content in serialize_functions(model, params).items():
        (folder / f"model.{name}.jaxexport").write_bytes(content)
    random = np.random.default_rng(2)
    dynamics, latents = random.normal(size=(3, 4)), random.normal(size=(2, 3, 6))
    np.savez(folder / "inputs.npz", **clips, dynamics=dynamics.astype("f4"), latents=latents.astype("f4"))
    return folder


def consume(python, program, folder):
    (folder / "outputs.npz").unlink(missing_ok=True)
    # -I: neither this folder nor an environment variable leads to our code.
    command = [python, "-I", "-W", "error", "-c", program]
    environment = {"JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": str(CACHE)}
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    return dict(np.load(folder / "outputs.npz"))


def with_only(*packages):
    return f"ALLOWED = {JAX | set(packages)}\n{ONLY_ALLOWED}"


def check_parameters(outputs, folder, tiny):
    given = {name: jax.numpy.asarray(value) for name, value in np.load(folder / "inputs.npz").items()}
    expected = tiny[0].apply(tiny[1], given["dynamics"], given["latents"][0], method="predict_latents")
    np.testing.assert_allclose(outputs["predicted"], expected, rtol=1e-5, atol=1e-6)
    assert outputs["step"] == 300


def flatten(prefix, record):
    if not hasattr(record, "_asdict"):
        return {prefix: record}
    items = record._asdict().items()
    return {name: leaf for key, value in items for name, leaf in flatten(f"{prefix}/{key}", value).items()}


def check_functions(outputs, tiny, clips):
    model, variables = tiny
    steps, expected = model.config.num_rollout_steps, {}
    infer = jax.jit(lambda *x: model.apply(variables, *x, deterministic=True, method="infer"))
    distill = jax.jit(lambda x: model.apply(variables, x, method="distill"))
    rollout = jax.jit(lambda x: model.apply(variables, x, num_steps=steps, method="rollout"))
    for name, clip in clips.items():
        inferred = infer(jax.numpy.asarray(clip), jax.random.key(SEED))
        distilled, future = distill(inferred.latents), rollout(inferred.latents)
        for position, record in enumerate((inferred, distilled, future)):
            expected |= flatten(f"{name}/{position}", record)
    assert expected.keys() == outputs.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(outputs[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    # Not all the same by being trivial: pictures differ between clips, frames and slots.
    assert all(np.ptp(outputs[f"{name}/0/decoded/slot_rgb"]) > 0.01 for name in clips)


def test_parameters_need_safetensors_alone(folder, tiny):
    program = with_only("safetensors") + READ_PARAMETERS
    check_parameters(consume(sys.executable, program, folder), folder, tiny)


def test_functions_need_jax_alone(folder, tiny, clips):
    program = with_only("flatbuffers") + f"SEED = {SEED}\n" + RUN_FUNCTIONS
    check_functions(consume(sys.executable, program, folder), tiny, clips)


def test_other_packages_are_not_there(folder):
    with pytest.raises(AssertionError, match="No module named 'safetensors'"):
        consume(sys.executable, with_only("flatbuffers") + READ_PARAMETERS, folder)


def test_functions_are_written_for_both_platforms(folder):
    for name in ("infer", "distill", "rollout"):
        exported = jax.export.deserialize(bytearray((folder / f"model.{name}.jaxexport").read_bytes()))
        assert exported.platforms == ("cpu", "cuda")
        assert str(exported.in_avals[0].shape[:2]) == "(b, t)"


def test_iodine_has_one_function(tiny_config, initial_variables):
    model = IODINE(tiny_config)
    assert serialize_functions(model, initial_variables(model)["params"]).keys() == {"infer"}


def test_functions_do_not_depend_on_who_writes_them(tiny, folder, monkeypatch):
    """On a machine with a GPU the loop's default is another one; the file must run well on the CPU all the same."""
    model, params = tiny[0], tiny[1]["params"]

    def loops(content):
        return jax.export.deserialize(bytearray(content)).mlir_module().count("stablehlo.while")

    rolled = model.clone(config=dataclasses.replace(model.config, unroll=1))
    here = loops((folder / "model.infer.jaxexport").read_bytes())
    assert loops(serialize_functions(rolled, params)["infer"]) > here
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert loops(serialize_functions(model, params)["infer"]) == here


def test_without_flatbuffers_one_line_names_the_extra(tiny, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    message = r'need the package flatbuffers: pip install "oddn_jax\[export\]"'
    with pytest.raises(ModuleNotFoundError, match=message):
        serialize_functions(tiny[0], tiny[1]["params"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "package, program", [("safetensors", READ_PARAMETERS), ("flatbuffers", RUN_FUNCTIONS)]
)
def test_in_an_environment_of_their_own(package, program, folder, tiny, clips, tmp_path):
    constraints = ROOT / "constraints" / "tested.txt"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "-q", "-c", constraints, "jax", "numpy", package]
    subprocess.run(install, check=True)
    listed = subprocess.run([python, "-m", "pip", "list", "--format=json"], check=True, capture_output=True)
    names = {entry["name"] for entry in json.loads(listed.stdout)}
    assert package in names and not names & {"flax", "oddn_jax", "jaxtyping"}
    outputs = consume(python, f"SEED = {SEED}\n" + program, folder)
    if program is READ_PARAMETERS:
        check_parameters(outputs, folder, tiny)
    else:
        check_functions(outputs, tiny, clips)
