"""A step computes the same on any number of devices, and the optimiser is the one that was asked for."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import steps
from experiments.config import TrainConfig


def test_one_device_equals_four(run_program):
    code, output = run_program("-m", "tests.experiments.four_devices")
    assert code == 0, output
    found = json.loads(output.splitlines()[-1])
    assert found["devices"] == 4
    assert found["gradient_norm"] > 1
    assert found["relative_error"] < 1e-5
    np.testing.assert_allclose(*found["losses"], rtol=1e-6)
    assert found["all_reduces"] == 1


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
