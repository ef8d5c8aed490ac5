"""The hand-made scene, made once."""

import copy
from pathlib import Path

import pytest

from tests.data_pipelines.handmade import RawScene, make_scene, write_mp4


@pytest.fixture(scope="session")
def _scene() -> RawScene:
    return make_scene(0)


@pytest.fixture
def scene(_scene: RawScene) -> RawScene:
    """The scene of video 0; its files may be changed."""
    return _scene._replace(
        annotation=copy.deepcopy(_scene.annotation), proposal=copy.deepcopy(_scene.proposal)
    )


@pytest.fixture(scope="session")
def mp4(_scene: RawScene, tmp_path_factory) -> Path:
    """The video of `scene`."""
    path = tmp_path_factory.mktemp("video") / "video_00000.mp4"
    write_mp4(path, _scene.frames)
    return path
