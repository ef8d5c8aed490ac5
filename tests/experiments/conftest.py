"""A tiny simulated data set, and free ports."""

import pathlib
import socket

import pytest

from data_pipelines import build
from tests.experiments.tiny import DATA_OPTIONS


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
