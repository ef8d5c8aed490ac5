"""The reader's own files, where the pages tell to put them."""

import pathlib

import pytest

import data_pipelines.builders
from data_pipelines import configs
from tests.docs import pages


@pytest.fixture
def own_files(tmp_path, monkeypatch) -> pathlib.Path:
    """A folder with every file that a page spells out, and the repository's config files; it is the current one."""
    for page in pages.GUIDES:
        for path, text in pages.files(page.read_text()).items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    (tmp_path / "experiments").symlink_to(pages.ROOT / "experiments")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    own_builders = tmp_path / "data_pipelines" / "builders"
    monkeypatch.setattr(
        data_pipelines.builders, "__path__", [*data_pipelines.builders.__path__, str(own_builders)]
    )
    own = tuple(folder.name for folder in own_builders.iterdir())
    monkeypatch.setattr(configs, "DATASETS", configs.DATASETS + own)
    return tmp_path
