"""Exported files: what goes in comes out, and nothing damaged does."""

import itertools
import json
import os
import pathlib
import stat
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import oddn_jax
from oddn_jax import export
from oddn_jax.arrays import safetensors_bytes
from oddn_jax.baselines import IODINE
from oddn_jax.export import flatten_params, unflatten_params
from tests.oddn_jax.conftest import FACTS

# The names and shapes of ODDN's arrays, by preset. A change here breaks every file that people have: it needs a new
# format version.
FROZEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "parameters.json").read_text())
NOT_IN_IODINE = ("distiller/", "relation/", "predictor/")


def test_round_trip(tiny, exported):
    model, params = oddn_jax.load(exported)
    assert isinstance(model, oddn_jax.ODDN) and model.config == tiny[0].config
    jax.tree.map(np.testing.assert_array_equal, params, tiny[1]["params"])
    with safetensors.safe_open(exported, "numpy") as file:
        assert json.loads(file.metadata()["provenance"]) == FACTS
    assert oddn_jax.read_provenance(exported) == FACTS
    assert [p.name for p in exported.parent.iterdir()] == ["model.safetensors"]


def in_other_layouts(array):
    """Equal arrays as others may bring them, from PyTorch for instance."""
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return {
        "Fortran order": np.asfortranarray(array),
        "a transposed view": np.ascontiguousarray(array.T).T,
        "a slice": wide[..., ::2],
        "reversed": np.ascontiguousarray(array[::-1])[::-1],
        "big endian": array.astype(">f4"),
        "float64": array.astype(float),
        "read only": np.broadcast_to(array, array.shape),
        "of JAX": jnp.asarray(array),
    }


def test_a_file_holds_what_it_was_given_however_that_lay_in_memory(tiny, tmp_path):
    model, variables = tiny
    numbers = itertools.count()

    def lay_out(array):
        layouts = list(in_other_layouts(np.asarray(array)).values())
        return layouts[next(numbers) % len(layouts)]

    params = jax.tree.map(lay_out, variables["params"])
    assert next(numbers) > 3 * len(in_other_layouts(np.zeros((1, 1))))
    oddn_jax.save(tmp_path / "model.safetensors", model.config, params)
    on_disk = safetensors.numpy.load((tmp_path / "model.safetensors").read_bytes())  # not by `load`
    for name, array in flatten_params(variables["params"]).items():
        np.testing.assert_array_equal(on_disk[name], array)
    oddn_jax.load(tmp_path / "model.safetensors")


def test_half_the_size(tiny, tmp_path):
    model, variables = tiny
    params = variables["params"]
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    oddn_jax.save(whole, model.config, params)
    oddn_jax.save(half, model.config, params, half=True)
    sizes = [
        sum(array.nbytes for array in safetensors.numpy.load_file(file).values()) for file in (whole, half)
    ]
    assert sizes[0] == 2 * sizes[1]
    jax.tree.map(
        lambda read, given: np.testing.assert_array_equal(read, np.asarray(given, np.float16).astype("f4")),
        oddn_jax.load(half)[1],
        params,
    )
    large = jax.tree.map(lambda array: array + 1e6, params)
    with pytest.raises(ValueError, match="holds values that are not finite"):
        oddn_jax.save(half, model.config, large, half=True)
    oddn_jax.load(half)


def test_arrays_of_any_shape_and_type_come_back_from_safetensors():
    random = np.random.default_rng(0)
    arrays = {
        "number": np.array(3.5, np.float32),
        "empty": np.zeros((0, 2), np.float32),
        "integers": random.integers(0, 9, (3, 4))[:, ::-2],
        "big": np.arange(6, dtype=">i4").reshape(2, 3).T,
        "four axes": random.random((2, 3, 4, 5)).transpose(2, 0, 3, 1),
    }
    read = safetensors.numpy.load(safetensors_bytes(arrays, {"a": "b"}))
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype.newbyteorder("=")


def test_iodine_comes_back_as_iodine(tiny_config, initial_variables, video, tmp_path):
    before = IODINE(tiny_config)
    params = initial_variables(before)["params"]
    oddn_jax.save(tmp_path / "iodine.safetensors", tiny_config, params, model=IODINE)
    model, loaded = oddn_jax.load(tmp_path / "iodine.safetensors")
    assert type(model) is IODINE
    jax.tree.map(np.testing.assert_array_equal, loaded, params)
    latents = jnp.ones((2, tiny_config.num_slots, tiny_config.latent_size))
    ours, theirs = (
        m.apply({"params": p}, latents, method="decode") for m, p in ((before, params), (model, loaded))
    )
    np.testing.assert_array_equal(ours.reconstruction, theirs.reconstruction)


def test_a_model_that_load_does_not_know_is_not_saved(tiny, tmp_path):
    class Another(oddn_jax.ODDN):
        pass

    with pytest.raises(
        ValueError, match=r"Another is neither one of ODDN, IODINE, .* nor at the top of a module"
    ):
        oddn_jax.save(tmp_path / "x", tiny[0].config, tiny[1]["params"], model=Another)


@pytest.mark.parametrize("preset", ["prediction", "reasoning", "quickstart", "cheap"])
def test_names_and_shapes_are_frozen(preset):
    config, frozen = (
        oddn_jax.ODDNConfig.preset("quickstart", num_slots=5),
        FROZEN[preset],
    )  # in the cheap form
    if preset != "cheap":
        config = oddn_jax.ODDNConfig.preset(preset, pyramid=0, background_slot=0.0)
    for model in (oddn_jax.ODDN(config), IODINE(config)):
        initialize = partial(model.init, jax.random.key(0), method="initialize_parameters")
        params = jax.eval_shape(initialize)["params"]
        assert {name: list(leaf.shape) for name, leaf in flatten_params(params).items()} == frozen
        frozen = {name: shape for name, shape in frozen.items() if not name.startswith(NOT_IN_IODINE)}
    assert sum(map(np.prod, FROZEN["prediction"].values())) == 2_925_365  # Table 4


@pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o077, 0o600)])
def test_who_may_read_is_what_the_umask_says(tiny, tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        oddn_jax.save(tmp_path / "model.safetensors", tiny[0].config, tiny[1]["params"])
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model.safetensors").stat().st_mode) == mode


def test_an_unknown_name_is_told_the_known_ones():
    for read in (oddn_jax.load, oddn_jax.read_provenance):
        with pytest.raises(FileNotFoundError) as caught:
            read("quickstep")
        assert (
            str(caught.value)
            == "quickstep: no such file, nor the name of a bundled model (clevrer, clevrer_wide, "
            "clevrer_wide_reasoner, quickstart, quickstart_reasoner)"
        )


def test_bundled_names_and_files_of_the_same_name(tiny, exported, tmp_path, monkeypatch):
    bundled, here = tmp_path / "bundled", tmp_path / "here"
    for folder in (bundled, here):
        folder.mkdir()
    monkeypatch.setattr(export, "BUNDLED", bundled)
    monkeypatch.chdir(here)
    oddn_jax.save(
        bundled / "quickstart.safetensors", tiny[0].config, tiny[1]["params"], provenance={"from": "bundled"}
    )
    (here / "quickstart").mkdir()  # a folder is no model
    assert oddn_jax.load("quickstart")[0].config == tiny[0].config
    assert oddn_jax.read_provenance("quickstart") == {"from": "bundled"}
    (here / "quickstart").rmdir()
    (here / "quickstart").write_bytes(exported.read_bytes())
    assert oddn_jax.read_provenance("quickstart") == FACTS
    with pytest.raises(
        FileNotFoundError, match=r"\.\./bundled/quickstart: no such file, nor the name of a bundled"
    ):
        oddn_jax.load("../bundled/quickstart")  # a name is no path


def test_the_bundled_models_are_small_and_say_where_they_come_from():
    for name in export.bundled_models():
        model, params = oddn_jax.load(name)
        facts = oddn_jax.read_provenance(name)
        assert facts["simulated"] and (export.BUNDLED / f"{name}.safetensors").stat().st_size < 4e6
        if name.endswith("_reasoner"):
            assert params["transformer"] and facts["reads"]["model"] == name.removesuffix("_reasoner")
            assert facts["scores"]["descriptive"]["n"] and facts["commit"]
            continue
        assert model.config.image_height == {"quickstart": 32}.get(name, 64) and params["decoder"]
        assert facts["stages"] and facts["metrics"]["metrics"]["fg_ari"]["n"]


def test_names_are_paths():
    arrays = {"a/b/kernel": 1, "a/bias": 2, "c": 3}
    assert flatten_params(unflatten_params(arrays)) == arrays
