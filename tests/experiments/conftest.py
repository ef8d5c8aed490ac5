"""A tiny simulated data set, and programs run as people run them."""

import os
import pathlib
import socket
import subprocess
import sys

import pytest

from data_pipelines import build
from tests.conftest import CACHE
from tests.experiments.tiny import DATA_OPTIONS

ROOT = pathlib.Path(__file__).parent.parent.parent


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> pathlib.Path:
    """Where the data set of `tiny.get_config()` lies."""
    folder = tmp_path_factory.mktemp("data")
    config = build.make_config("simulated_clevrer", "quickstart", **DATA_OPTIONS)
    build.build("simulated_clevrer", config, folder, jobs=1, progress=False)
    return folder


@pytest.fixture
def start_program(tmp_path):
    """Starts `python ARGUMENTS...` from the root of the repository; its output goes to `process.output`, a file.

    A process group of its own and no pipes: what a killed program leaves behind can then be ended, and holds nothing.
    """
    started = []

    def start(*arguments: str) -> subprocess.Popen:
        output = tmp_path / f"output_{len(started)}.txt"
        environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(CACHE), "JAX_PLATFORMS": "cpu"}
        environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3", "PYTHONWARNINGS": "default"}
        with open(output, "w") as file:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process.output = output
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture
def run_program(start_program):
    """Runs `python ARGUMENTS...` to its end and returns (exit code, output)."""

    def run(*arguments: str) -> tuple[int, str]:
        process = start_program(*arguments)
        code = process.wait(timeout=300)
        return code, process.output.read_text()

    return run
