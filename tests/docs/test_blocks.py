"""The Python blocks of the pages run as they stand, and a reader's own data set builds."""

import contextlib
import os
import shutil
import subprocess
import sys

import numpy as np

from data_pipelines import loaders
from data_pipelines.datasets import dataset_path
from tests.docs import pages, run_blocks


def test_every_block_runs(run_program, tmp_path):
    """In a process without the tests' checks of annotations, as for whoever copies them."""
    headings = [f"{page}: {block.heading}" for page, block in run_blocks.python_blocks()]
    for heading in ("README.md: If you have a JAX project", "docs/your_own_data.md: Add your own videos"):
        assert heading in headings
    folder = tmp_path / "folder"
    folder.mkdir()
    code, output = run_program("-W", "error", "-m", "tests.docs.run_blocks", str(folder))
    assert code == 0, output
    lines = output.splitlines()
    assert [line.removeprefix("# ") for line in lines if line.startswith("# ")] == headings
    for line in ("future (1, 2, 32, 32, 3)", "predicted_video (1, 6, 16, 16, 3)", "position (4, 5)"):
        assert line in lines


def test_blocks_are_found_under_their_headings():
    text = "# A\n```bash\n# B\n```\n## C\n```python\nx = 1  # D\n```\n```py\n# e/f.py: G\n```\n"
    assert pages.blocks(text) == [
        ("A", "bash", "# B\n"),
        ("C", "python", "x = 1  # D\n"),
        ("C", "py", "# e/f.py: G\n"),
    ]
    assert pages.files(text) == {"e/f.py": "# e/f.py: G\n"}


def test_a_block_that_fails_is_noticed(run_program, tmp_path):
    program = (
        "from tests.docs import run_blocks\n"
        "block = run_blocks.Block('Broken', 'python', 'import numpy\\nnumpy.nothing\\n')\n"
        "run_blocks.python_blocks = lambda: [('README.md', block)]\n"
        "run_blocks.prepare = lambda: None\n"
        f"run_blocks.main({str(tmp_path)!r})"
    )
    code, output = run_program("-c", program)
    assert code == 1 and "README.md, Broken" in output and "has no attribute 'nothing'" in output


def test_a_data_set_of_ones_own_builds(own_files):
    raw = own_files / "raw"
    raw.mkdir()
    run_blocks.write_clip(raw / "a.mp4")
    shutil.copy(raw / "a.mp4", raw / "c.mp4")
    (raw / "b.mp4").write_bytes(b"no video")
    # In a clone, as the page says: the file, an __init__.py, and the name among the others.
    shutil.copytree(pages.ROOT / "data_pipelines", own_files / "data_pipelines", dirs_exist_ok=True)
    (own_files / "data_pipelines/builders/my_videos/__init__.py").touch()
    names = own_files / "data_pipelines/configs.py"
    names.write_text(names.read_text().replace("DATASETS = (", 'DATASETS = ("my_videos",'))
    command = [
        sys.executable,
        "-m",
        "data_pipelines.build",
        "my_videos/64x64",
        f"--raw_dir={raw}",
        "--data_dir=data",
    ]
    done = subprocess.run(
        [*command, "--jobs=1"], env=os.environ | {"PYTHONPATH": "."}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "videos      2" in done.stdout and "b.mp4" in done.stdout
    path = dataset_path("my_videos", "64x64", "data")
    batches = loaders.training_batches(path, "train", num_frames=3, stride=4, batch_size=1, seed=0)
    with contextlib.closing(batches):
        batch = next(batches)
    assert batch["video"].shape == (1, 3, 64, 64, 3) and not batch["has_segmentation"].any()
    assert batch["video"].dtype == np.float32 and 0 < batch["video"].mean() < 1
