"""What is saved comes back to the bit, or is noticed."""

import shutil

import jax
import numpy as np
import optax
import pytest

from experiments.runs import checkpoints


def make_trees(seed):
    """Parameters, and the rest of a training state, of a toy."""
    generator = np.random.default_rng(seed)
    params = {"layer": {"kernel": generator.normal(size=(64, 128)).astype("f4"), "bias": np.zeros(128, "f4")}}
    opt_state = optax.adam(1e-3).init(params)
    gradients = jax.tree.map(lambda leaf: leaf + 1, params)
    _, opt_state = optax.adam(1e-3).update(gradients, opt_state)
    return params, {"step": np.full((), seed, "i4"), "opt_state": opt_state}


def save_steps(folder, steps, bounds=None, keep=10):
    with checkpoints.open_manager(folder, keep) as manager:
        for step in steps:
            bound = bounds[step] if bounds else None
            checkpoints.save(manager, step, *make_trees(step), "config", bound)


def restore(folder):
    said = []
    with checkpoints.open_manager(folder, 10) as manager:
        restored = checkpoints.restore(manager, *jax.eval_shape(lambda: make_trees(0)), said.append)
        return restored, said, sorted(manager.all_steps())


def assert_is_step(restored, step):
    params, state = make_trees(step)
    assert restored.step == step
    assert jax.tree.structure(restored.state) == jax.tree.structure(state)
    for ours, theirs in zip(
        jax.tree.leaves((restored.params, restored.state)), jax.tree.leaves((params, state))
    ):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype


def test_nothing_there(tmp_path):
    assert restore(tmp_path) == (None, [], [])


def test_round_trip(tmp_path):
    save_steps(tmp_path, [3, 6])
    restored, said, held = restore(tmp_path)
    assert_is_step(restored, 6)
    assert said == [] and held == [3, 6]
    assert restored.meta["config_sha256"] == "config" and restored.meta["data_position"] == 6


def test_the_latest_and_the_best_stay(tmp_path):
    nothing = float("nan")
    save_steps(tmp_path, range(1, 7), {1: -5.0, 2: -1.0, 3: None, 4: nothing, 5: -3.0, 6: None}, keep=2)
    assert restore(tmp_path)[2] == [2, 5, 6]


def test_a_saved_array_may_change_afterwards(tmp_path):
    params, state = make_trees(1)
    with checkpoints.open_manager(tmp_path, 1) as manager:
        checkpoints.save(manager, 1, params, state, "config")
        params["layer"]["kernel"][:] = 0
    assert_is_step(restore(tmp_path)[0], 1)


def flip(path):
    """Flips the bits of eight bytes in the middle of a file."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    for position in range(middle, middle + 8):
        content[position] ^= 0xFF
    path.write_bytes(bytes(content))


def largest_file(folder):
    return max((file for file in folder.rglob("*") if file.is_file()), key=lambda file: file.stat().st_size)


@pytest.mark.parametrize("item", ["params", "state"])
def test_flipped_bytes_are_noticed(tmp_path, item):
    save_steps(tmp_path, [3, 6])
    flip(largest_file(tmp_path / "checkpoints" / "6" / item))
    restored, said, held = restore(tmp_path)
    assert_is_step(restored, 3)
    assert held == [3]
    assert len(said) == 1 and "checkpoint 6 cannot be read" in said[0] and "\n" not in said[0]
    assert [entry.name for entry in (tmp_path / "unreadable").iterdir()] == ["6-0"]


DAMAGES = {
    "truncated": lambda step: largest_file(step).write_bytes(b""),
    "file gone": lambda step: largest_file(step / "params").unlink(),
    "no item": lambda step: shutil.rmtree(step / "state"),
    "empty": lambda step: [shutil.rmtree(step), step.mkdir()],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_falls_back_and_the_step_can_be_saved_again(tmp_path, damage):
    save_steps(tmp_path, [3, 6])
    DAMAGES[damage](tmp_path / "checkpoints" / "6")
    restored, said, _ = restore(tmp_path)
    assert_is_step(restored, 3)
    assert len(said) == 1
    save_steps(tmp_path, [6])
    assert_is_step(restore(tmp_path)[0], 6)


def test_nothing_readable_is_an_error_and_loses_nothing(tmp_path):
    save_steps(tmp_path, [3, 6])
    for step in ("3", "6"):
        flip(largest_file(tmp_path / "checkpoints" / step / "params"))
    with pytest.raises(ValueError, match=r"^none of the 2 checkpoints [^\n]* can be read[^\n]*$"):
        restore(tmp_path)
    assert {entry.name for entry in (tmp_path / "checkpoints").iterdir()} >= {"3", "6"}


def test_another_dtype_is_noticed(tmp_path):
    save_steps(tmp_path, [3])
    params, state = make_trees(3)
    params["layer"]["kernel"] = params["layer"]["kernel"].astype("f2")
    with checkpoints.open_manager(tmp_path, 10) as manager, pytest.raises(ValueError, match="none of the 1"):
        checkpoints.restore(manager, params, state, print)


def test_parameters_for_other_programs(tmp_path):
    save_steps(tmp_path, [3, 6])
    for step, expected in ((None, 6), (3, 3)):
        params = checkpoints.load_params(tmp_path, step)
        np.testing.assert_array_equal(params["layer"]["kernel"], make_trees(expected)[0]["layer"]["kernel"])
    with pytest.raises(FileNotFoundError, match=r"only steps 3, 6"):
        checkpoints.load_params(tmp_path, 5)
    with pytest.raises(FileNotFoundError, match="no checkpoints"):
        checkpoints.load_params(tmp_path / "elsewhere")
    flip(largest_file(tmp_path / "checkpoints" / "6" / "params"))
    with pytest.raises(ValueError, match="checkpoint 6"):
        checkpoints.load_params(tmp_path)


def test_digest_sees_names_dtypes_shapes_and_bits():
    ones = np.ones((2, 3), "f4")
    others = [
        {"b": ones},
        {"a": ones.astype("f8")},
        {"a": ones.T},
        {"a": -ones},
        {"a": ones, "b": np.zeros(0)},
    ]
    digests = {checkpoints.digest(tree) for tree in [{"a": ones}, *others]}
    assert len(digests) == 1 + len(others)
    assert checkpoints.digest({"a": ones.copy()}) == checkpoints.digest({"a": ones})
