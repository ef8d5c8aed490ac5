"""Exported files that were damaged or made by hand: refused in one line, and nothing is taken for something else."""

import copy
import json
import pickle

import jax
import numpy as np
import pytest
import safetensors
import safetensors.numpy

import oddn_jax
from oddn_jax.export import checksum, flatten_params, header_checksum
from tests.oddn_jax.conftest import FACTS


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
        ({"format_version": "99"}, "format version '99', this release reads version 1"),
        ({"format_version": "9\n9"}, r"format version '9\\n9', this release"),
        ({"config": "{"}, "configuration in the header is unusable"),
        ({"config": '{"num_slotz": 3}'}, "num_slotz"),
        ({"config": '{"num_slots": "7"}'}, "configuration in the header is unusable"),
        ({"config": "[7]"}, "configuration in the header is unusable"),
        ({"model": "Monet"}, "model 'Monet' is not one of ODDN, IODINE, IODINELinear, PROVIDE, SRVP, MONet"),
        ({"model": "MONet"}, "configuration in the header is unusable"),
        ({"model": "nobodys_models.toy:Toy"}, "import nobodys_models.toy first"),
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.astype(int), r"params: \S+ is int64\[.*\], expected floating-point numbers"),
        (lambda x: x + 1j, r"params: \S+ is complex64\[.*\], expected floating-point numbers"),
        (lambda x: x.astype(str), r"params: \S+ is <U\d+\[.*\], expected floating-point numbers"),
        (lambda x: x.astype(float) + 1e300, r"params: \S+ holds values that are not finite"),
        (lambda x: x[None], r"params: \S+ is float32\[1, .*\], expected float32\["),
    ],
)
def test_arrays_that_are_no_parameters_are_not_saved(tiny, tmp_path, change, message):
    params = jax.tree.map(lambda x: change(np.asarray(x)), tiny[1]["params"])
    with pytest.raises(ValueError, match=message):
        oddn_jax.save(tmp_path / "model.safetensors", tiny[0].config, params)
    assert not list(tmp_path.iterdir())


def test_a_config_that_cannot_work_is_not_saved(tiny, tmp_path):
    model, variables = tiny
    config = copy.copy(model.config)
    config.num_slots = 10**9
    with pytest.raises(ValueError, match="num_slots=1000000000 must be at most 1000"):
        oddn_jax.save(tmp_path / "x", config, variables["params"])
    with pytest.raises(ValueError, match="config is a ODDNConfig, MONet wants a MONetConfig"):
        oddn_jax.save(tmp_path / "x", model.config, variables["params"], model=oddn_jax.MODELS["MONet"])


def with_config(path, **changes):
    """Another config in the header, with right checksums."""
    with safetensors.safe_open(path, "numpy") as file:
        config = json.loads(file.metadata()["config"])
    rewrite(path, config=json.dumps(config | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_slots": 10**9}, "num_slots=1000000000 must be at most 1000"),
        ({"num_refinement_steps": 10**30}, r"num_refinement_steps=10+ must lie in"),
        ({"num_rollout_steps": 1001}, "num_rollout_steps=1001 must be at most 1000"),
        ({"student_forcing_depth": 10**6}, "student_forcing_depth=1000000 must be at most 1000"),
        ({"image_height": 2**20}, "image_height=1048576 must be at most 65536"),
        ({"num_slots": 3.0}, "num_slots=3.0 must be an integer"),
        ({"num_slots": True}, "num_slots=True must be an integer"),
        ({"share_noise": 1}, "share_noise=1 must be True or False"),
        ({"nll_weight": "100"}, "nll_weight='100' must be a number"),
        ({"features": ["none"]}, r"features=\('none',\) must be a text"),
        ({"likelihood_variance": None}, "likelihood_variance=None must be a number"),
    ],
)
@pytest.mark.usefixtures("as_installed")
def test_sizes_and_types_in_a_file_are_bounded_before_anything_is_made_of_them(exported, changes, message):
    """The number of slots or steps is in no shape: an array cannot tell."""
    with_config(exported, **changes)
    with pytest.raises(ValueError, match=f"configuration in the header is unusable .*{message}") as caught:
        oddn_jax.load(exported)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a": NaN}', '{"num_slots": 3, "num_slots": 4}', '{"num_slots": 1e999}', "3"]
)
def test_a_header_that_is_no_record_is_refused(exported, text):
    for name, read in (("config", oddn_jax.load), ("provenance", oddn_jax.read_provenance)):
        content = exported.read_bytes()
        rewrite(exported, **{name: text})
        with pytest.raises(ValueError, match="in the header is unusable") as caught:
            read(exported)
        assert "\n" not in str(caught.value)
        exported.write_bytes(content)
