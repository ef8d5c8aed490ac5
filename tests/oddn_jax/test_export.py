"""Exported files: what goes in comes out, and nothing damaged does."""

import json
import os
import pathlib
import pickle
import stat
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import oddn_jax
from oddn_jax import export
from oddn_jax.baselines import IODINE
from oddn_jax.export import checksum, flatten_params, header_checksum, unflatten_params

# The names and shapes of ODDN's arrays, by preset. A change here breaks every file that people have: it needs a new
# format version.
FROZEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "parameters.json").read_text())
NOT_IN_IODINE = ("distiller/", "relation/", "predictor/")
FACTS = {"data": "simulated", "step": 300}


@pytest.fixture
def exported(tiny, tmp_path):
    model, variables = tiny
    path = tmp_path / "model.safetensors"
    oddn_jax.save(path, model.config, variables["params"], provenance=FACTS)
    return path


def test_round_trip(tiny, exported):
    model, params = oddn_jax.load(exported)
    assert isinstance(model, oddn_jax.ODDN) and model.config == tiny[0].config
    jax.tree.map(np.testing.assert_array_equal, params, tiny[1]["params"])
    with safetensors.safe_open(exported, "numpy") as file:
        assert json.loads(file.metadata()["provenance"]) == FACTS
    assert oddn_jax.read_provenance(exported) == FACTS
    assert [p.name for p in exported.parent.iterdir()] == ["model.safetensors"]


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


@pytest.mark.parametrize("preset", ["prediction", "reasoning", "quickstart"])
def test_names_and_shapes_are_frozen(preset):
    config, frozen = oddn_jax.ODDNConfig.preset(preset), FROZEN[preset]
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
        assert str(caught.value) == "quickstep: no such file, nor the name of a bundled model (quickstart)"


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
        assert model.config.image_height == 32 and params["decoder"]
        facts = oddn_jax.read_provenance(name)
        assert facts["simulated"] and facts["stages"] and facts["metrics"]["metrics"]["fg_ari"]["n"]
        assert (export.BUNDLED / f"{name}.safetensors").stat().st_size < 4e6


def test_names_are_paths():
    arrays = {"a/b/kernel": 1, "a/bias": 2, "c": 3}
    assert flatten_params(unflatten_params(arrays)) == arrays


def rewrite(path, change_arrays=None, **header_changes):
    with safetensors.safe_open(path, "numpy") as file:
        header = file.metadata()
    arrays = safetensors.numpy.load(path.read_bytes())
    if change_arrays is not None:
        change_arrays(arrays)
        header["arrays_sha256"] = checksum(arrays)  # so that no checksum is what catches the change
    header = header | header_changes
    if "sha256" not in header_changes:
        header["sha256"] = header_checksum(header)
    path.write_bytes(safetensors.numpy.save(arrays, metadata=header))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("predictor/projection/kernel"), "predictor/projection/kernel is missing"),
        (lambda a: a.update(extra=np.zeros(3, np.float32)), "extra is no parameter of the model"),
        (
            lambda a: a.update(initial_posterior=np.zeros(5, np.float32)),
            r"initial_posterior is float32\[5\], expected",
        ),
        (lambda a: a.update(initial_posterior=np.zeros(12, np.float16)), "initial_posterior is float16"),
        (lambda a: a["initial_posterior"].fill(np.nan), "initial_posterior holds values that are not finite"),
    ],
)
def test_wrong_arrays_are_refused(exported, change, message):
    rewrite(exported, change)
    with pytest.raises(ValueError, match=message):
        oddn_jax.load(exported)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"format": "something"}, "not one of oddn_jax"),
        ({"format_version": "99"}, "format version 99, this release reads version 1"),
        ({"config": "{"}, "configuration in the header is unusable"),
        ({"config": '{"num_slotz": 3}'}, "num_slotz"),
        ({"config": '{"num_slots": "7"}'}, "configuration in the header is unusable"),
        ({"config": "[7]"}, "configuration in the header is unusable"),
        ({"model": "Monet"}, "model 'Monet' is not one of ODDN, IODINE, IODINELinear, PROVIDE, SRVP, MONet"),
        ({"model": "MONet"}, "configuration in the header is unusable"),
        ({"model": "my_models.toy:Toy"}, "import my_models.toy first"),
        ({"model": "os:system"}, "os has no VideoModel of that name"),
        ({"model": "IODINE"}, "distiller/.* is no parameter of the model"),
        ({"arrays_sha256": "0"}, "the arrays do not match the checksum"),
        ({"sha256": "0"}, "the header does not match its checksum"),
    ],
)
def test_wrong_headers_are_refused(exported, header, message):
    rewrite(exported, **header)
    with pytest.raises(ValueError, match=message):
        oddn_jax.load(exported)


def flip(content, position, bit):
    damaged = bytearray(content)
    damaged[position] ^= 1 << int(bit)
    return bytes(damaged)


def test_damage_is_always_noticed(exported):
    """Bits flipped anywhere: one of the documented errors, or else the very same parameters, config and provenance."""
    original, (model, params) = exported.read_bytes(), oddn_jax.load(exported)
    reference, end_of_header = flatten_params(params), 8 + int.from_bytes(original[:8], "little")
    random, refused = np.random.default_rng(0), 0
    for attempt in range(200):
        # A quarter each in the length of the header, in the header, in the arrays and anywhere.
        low, high = [(0, 8), (8, end_of_header), (end_of_header, len(original)), (0, len(original))][
            attempt % 4
        ]
        exported.write_bytes(flip(original, random.integers(low, high), random.integers(8)))
        try:
            assert oddn_jax.read_provenance(exported) == FACTS
        except ValueError:
            pass
        try:
            damaged_model, damaged_params = oddn_jax.load(exported)
        except ValueError as error:
            assert "\n" not in str(error)
            refused += 1
        else:
            assert damaged_model == model
            for name, value in flatten_params(damaged_params).items():
                np.testing.assert_array_equal(value, reference[name])
    assert refused > 190


def test_a_config_that_still_parses_is_refused(exported):
    """The number of refinement steps is in no shape: the checksum alone can tell."""
    content = exported.read_bytes()
    config = json.dumps(json.dumps({"num_refinement_steps": 3}))[2:-2].encode()
    assert content.count(config) == 1
    exported.write_bytes(content.replace(config, config[:-1] + b"2"))
    for read in (oddn_jax.load, oddn_jax.read_provenance):
        with pytest.raises(ValueError, match="the header does not match its checksum; the file is damaged"):
            read(exported)


def test_provenance_needs_no_arrays(exported):
    content = exported.read_bytes()
    exported.write_bytes(flip(content, len(content) - 1, 0))
    with pytest.raises(ValueError, match="the arrays do not match"):
        oddn_jax.load(exported)
    assert oddn_jax.read_provenance(exported) == FACTS


def test_other_files_are_refused(exported, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        oddn_jax.load(tmp_path / "nothing.safetensors")
    content = exported.read_bytes()
    for name, data in (
        ("truncated", content[: len(content) // 2]),
        ("empty", b""),
        ("pickle", pickle.dumps({"a": 1})),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(ValueError, match="not a readable safetensors file"):
            oddn_jax.load(path)


def test_saving_wrong_parameters_leaves_the_old_file(tiny, exported):
    before = exported.read_bytes()
    params = dict(tiny[1]["params"])
    del params["decoder"]
    with pytest.raises(ValueError, match="decoder/conv_0/bias is missing"):
        oddn_jax.save(exported, tiny[0].config, params)
    assert exported.read_bytes() == before


@pytest.mark.parametrize("facts", [{"loss": float("nan")}, {"config": object()}])
def test_a_provenance_that_is_no_json_is_refused(tiny, tmp_path, facts):
    with pytest.raises(ValueError, match="the provenance cannot be written as JSON"):
        oddn_jax.save(tmp_path / "model.safetensors", tiny[0].config, tiny[1]["params"], provenance=facts)
    assert not list(tmp_path.iterdir())


def test_saving_where_there_is_no_folder(tiny, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors: no folder .*nowhere; make it first"):
        oddn_jax.save(tmp_path / "nowhere" / "model.safetensors", tiny[0].config, tiny[1]["params"])
