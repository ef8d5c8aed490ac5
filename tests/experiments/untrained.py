"""A run folder whose model has not been trained: what programs that only read runs need, without the time."""

import pathlib

import jax

from experiments.config import TrainConfig, make_model
from experiments.runs import checkpoints, run_folder
from tests.experiments.tiny import get_config


def write_run(workdir: pathlib.Path, data_dir: pathlib.Path, system: str = "ODDN") -> TrainConfig:
    """Writes the run folder of `tiny.get_config(system)`, its initial parameters as step 6, and returns its config."""
    config = get_config(system)
    config.data.data_dir = str(data_dir)
    params = jax.jit(make_model(config).initialize)(jax.random.key(0))
    run_folder.open_run(workdir, config)
    with checkpoints.open_manager(workdir, keep=1) as manager:
        checkpoints.save(manager, 6, params, {"step": 6}, run_folder.fingerprint(config))
    return config
