"""A run folder whose model has not been trained: what programs that only read runs need, without the time."""

import pathlib

import jax

import oddn_jax
from experiments import checkpoints, runs
from experiments.config import TrainConfig
from tests.experiments.tiny import get_config


def write_run(workdir: pathlib.Path, data_dir: pathlib.Path) -> TrainConfig:
    """Writes the run folder of `tiny.get_config()` with its initial parameters as step 6, and returns its config."""
    config = get_config()
    config.data.data_dir = str(data_dir)
    model = oddn_jax.ODDN(config.model)
    params = jax.jit(lambda key: model.init(key, method="initialize_parameters"))(jax.random.key(0))["params"]
    runs.open_run(workdir, config)
    with checkpoints.open_manager(workdir, keep=1) as manager:
        checkpoints.save(manager, 6, params, {"step": 6}, runs.fingerprint(config))
    return config
