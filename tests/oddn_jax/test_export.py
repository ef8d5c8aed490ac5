"""Exported files: what goes in comes out, and nothing damaged does."""

import json
import pickle

import jax
import numpy as np
import pytest
import safetensors.numpy

import oddn_jax
from oddn_jax.export import checksum, flatten_params, unflatten_params


@pytest.fixture
def exported(tiny, tmp_path):
    model, variables = tiny
    path = tmp_path / "model.safetensors"
    oddn_jax.save(path, model.config, variables["params"], provenance={"data": "simulated"})
    return path


def test_round_trip(tiny, exported):
    model, params = oddn_jax.load(exported)
    assert model.config == tiny[0].config
    jax.tree.map(np.testing.assert_array_equal, params, tiny[1]["params"])
    with safetensors.safe_open(exported, "numpy") as file:
        assert json.loads(file.metadata()["provenance"]) == {"data": "simulated"}
    assert [p.name for p in exported.parent.iterdir()] == ["model.safetensors"]


def test_names_are_paths():
    arrays = {"a/b/kernel": 1, "a/bias": 2, "c": 3}
    assert flatten_params(unflatten_params(arrays)) == arrays


def rewrite(path, change_arrays=None, **header_changes):
    with safetensors.safe_open(path, "numpy") as file:
        header = file.metadata()
    arrays = safetensors.numpy.load(path.read_bytes())
    if change_arrays is not None:
        change_arrays(arrays)
        header["sha256"] = checksum(arrays)  # so that the checksum is not what catches the change
    path.write_bytes(safetensors.numpy.save(arrays, metadata={**header, **header_changes}))


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
        ({"sha256": "0"}, "do not match the checksum"),
    ],
)
def test_wrong_headers_are_refused(exported, header, message):
    rewrite(exported, **header)
    with pytest.raises(ValueError, match=message):
        oddn_jax.load(exported)


def test_damage_is_always_noticed(exported):
    """Bytes flipped anywhere: one of the documented errors, or (in the provenance alone) the same parameters."""
    original, reference = exported.read_bytes(), flatten_params(oddn_jax.load(exported)[1])
    random, refused = np.random.default_rng(0), 0
    for _ in range(30):
        damaged = bytearray(original)
        damaged[random.integers(len(damaged))] ^= 1 << int(random.integers(8))
        exported.write_bytes(damaged)
        try:
            params = flatten_params(oddn_jax.load(exported)[1])
        except ValueError:
            refused += 1
        else:
            for name, value in reference.items():
                np.testing.assert_array_equal(params[name], value)
    assert refused > 20


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
