"""A step computes the same on any number of devices, and the optimiser is the one that was asked for."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.config import TrainConfig
from experiments.training import steps
from tests.conftest import PATIENCE
from tests.experiments.conftest import free_port


@pytest.fixture
def agreement(start_program, tmp_path, monkeypatch):
    """Runs `device_agreement` and returns what it found, and the gradient and losses that it wrote."""

    def run(name, num_devices, *processes):
        monkeypatch.setenv("JAX_NUM_CPU_DEVICES", str(num_devices))
        file = str(tmp_path / f"{name}.npz")
        started = [
            start_program("-m", "tests.experiments.device_agreement", file, *others)
            for others in processes or [()]
        ]
        for process in started:
            assert process.wait(timeout=PATIENCE) == 0, process.output.read_text()
        return json.loads(started[0].output.read_text().splitlines()[-1]), np.load(file)

    return run


def check_agreement(found, num_devices):
    assert found["devices"] == num_devices
    assert found["gradient_norm"] > 1
    assert found["relative_error"] < 1e-5
    losses, expected = found["losses"]
    assert len(losses) == 5 and losses[4] < losses[0]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_all_numbers_of_devices_and_processes_train_alike(agreement):
    """One device, four, and two processes of two: the raw gradient and five losses are those of plain `jit`."""
    (one, its), (four, theirs) = agreement("one", 1), agreement("four", 4)
    address = f"127.0.0.1:{free_port()}"
    two, of_two = agreement("two", 2, (address, "2", "0"), (address, "2", "1"))
    for found, num_devices in ((one, 1), (four, 4), (two, 4)):
        check_agreement(found, num_devices)
    for other in (theirs, of_two):
        error = np.linalg.norm(other["gradient"] - its["gradient"]) / np.linalg.norm(its["gradient"])
        assert error < 1e-5
        np.testing.assert_allclose(other["losses"], its["losses"], rtol=1e-5)
    # All that the devices tell each other in a step is one sum: the gradients and metrics, in one piece.
    assert four["all_reduces"] == two["all_reduces"] == 1
    # The comparison sees the mistakes that it is there for. With `check_vma` JAX 0.10 refuses the refinement's carry,
    # which starts as one replicated value, or a bias's own gradient, which is each device's; a version that took both
    # would sum the inner gradient over the devices.
    assert four["pmean_inside"] > 0.1
    refusal = four["check_vma"]
    refused = isinstance(refusal, str) and ("carry" in refusal or "Custom VJP bwd rule" in refusal)
    assert refused or refusal > 0.1


def updates_for(config, gradients):
    optimizer = steps.make_optimizer(config)
    params = {"weight": jnp.zeros(2)}
    state = optimizer.init(params)
    updates = []
    for gradient in gradients:
        update, state = optimizer.update({"weight": jnp.asarray(gradient)}, state, params)
        updates.append(np.asarray(update["weight"]))
    return np.array(updates)


def test_optimiser_is_adam_behind_a_clip():
    gradients = [np.array([3.0, 4.0]), np.array([300.0, -400.0]), np.array([0.3, 0.1])]
    updates = updates_for(TrainConfig(learning_rate=0.1, gradient_clip=5.0), gradients)
    first, second = np.zeros(2), np.zeros(2)
    for number, gradient in enumerate(gradients, start=1):
        gradient = gradient * min(1, 5 / np.linalg.norm(gradient))
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        expected = -0.1 * (first / (1 - 0.9**number)) / (np.sqrt(second / (1 - 0.999**number)) + 1e-8)
        np.testing.assert_allclose(updates[number - 1], expected, rtol=1e-5)


@pytest.mark.parametrize("schedule, last", [("constant", 1.0), ("cosine", 0.5 * (1 + np.cos(np.pi * 7 / 8)))])
def test_schedules(schedule, last):
    config = TrainConfig(learning_rate=0.2, schedule=schedule, warmup_steps=4, num_steps=12)
    rates = -updates_for(config, [np.ones(2)] * 12)[:, 0]
    np.testing.assert_allclose(rates[:5], [0.0, 0.05, 0.1, 0.15, 0.2], rtol=1e-4)
    np.testing.assert_allclose(rates[-1], 0.2 * last, rtol=1e-4)
