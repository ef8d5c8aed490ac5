"""The pages build as a site, in which every link leads somewhere, and every module has its API."""

import importlib.util
import os
import subprocess
import sys

import pytest

from tests.conftest import PATIENCE
from tests.docs.pages import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("mkdocs") is None and not os.environ.get("CI"), reason="needs the extra docs"
    ),
]


def build_site(folder, *options):
    """Builds the site from `folder` with warnings as errors; the exit code and what was said."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", *options]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    return done.returncode, done.stdout + done.stderr


def test_site_builds(tmp_path):
    code, output = build_site(ROOT, f"--site-dir={tmp_path}")
    assert code == 0, output
    front = (tmp_path / "index.html").read_text()
    assert 'src="decomposition.gif"' in front and (tmp_path / "decomposition.gif").is_file()
    relation = (tmp_path / "source/oddn_jax/relation.py/index.html").read_text()
    assert "RelationModule" in relation and "Eq. 10-13" in relation
    code_map = (tmp_path / "code_map/index.html").read_text()
    assert "../source/oddn_jax/relation.py/" in code_map
    assert (tmp_path / "source/data_pipelines/simulator/sample.png").is_file()


def test_a_broken_link_fails(tmp_path):
    for name in ("docs", "mkdocs.yml", "oddn_jax", "data_pipelines", "experiments"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "docs").unlink()
    (tmp_path / "docs").mkdir()
    for path in (ROOT / "docs").iterdir():
        (tmp_path / "docs" / path.name).symlink_to(path)
    # As it is, but for one page with two wrong links.
    page = tmp_path / "docs" / "train.md"
    page.unlink()
    page.write_text(
        (ROOT / "docs/train.md").read_text() + "\n[a](no_such_page.md) [b](../experiments/no_such.py)\n"
    )
    for path in (*ROOT.glob("*.md"), *ROOT.glob("*.c*f*"), ROOT / "pyproject.toml", ROOT / "tests"):
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "docs" / "site_pages.py").unlink()
    (tmp_path / "docs" / "site_pages.py").write_text((ROOT / "docs/site_pages.py").read_text())
    code, output = build_site(tmp_path, f"--site-dir={tmp_path / 'site'}")
    assert code != 0 and "no_such_page.md" in output and "no_such.py" in output
