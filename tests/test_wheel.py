"""What `python -m build` makes, installed into an empty environment, does what the README says, in any folder."""

import json
import os
import pathlib
import subprocess
import sys
import tarfile
import venv
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGES = ("oddn_jax", "data_pipelines", "experiments")
SIZES = {"height": 16, "width": 16, "num_train": 16, "num_validation": 8, "supersampling": 1}
CONFIG = "quickstart-" + "-".join(f"{name}_{value}" for name, value in SIZES.items())
TRAIN = (
    "--config=experiments/configs/clevrer.py:quickstart",
    f"--config.data.config={CONFIG}",
    "--config.model.image_height=16",
    "--config.model.image_width=16",
    "--config.num_steps=1",
    "--config.warmup_steps=0",
    "--config.batch_size=4",
    "--config.num_valid_clips=4",
    "--workdir=run",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with the wheel and the source archive from which it was built."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], check=True)
    return folder


def wanted():
    """All that is needed to run: code, bundled model, page, and what TensorFlow Datasets shows of a data set."""
    kinds = ("*.py", "builders/*/README.md", "builders/*/CITATIONS.bib", "bundled/*", "py.typed", "page/*")
    return {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for kind in kinds
        for path in (ROOT / package).rglob(kind)
        if path.is_file()
    }


@pytest.mark.slow
def test_wheel_and_source_archive_hold_all_that_is_needed_and_no_tests(built):
    (wheel,), (archive,) = built.glob("*.whl"), built.glob("*.tar.gz")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == wanted()
    with tarfile.open(archive) as content:
        held = {name.partition("/")[2] for name in content.getnames()}
    assert wanted() | {"README.md", "LICENSE", "pyproject.toml"} <= held


@pytest.mark.slow
def test_the_installed_programs_work_in_any_folder(built, tmp_path):
    """In an environment that lies in somebody's repository, whose commit is not ours."""
    (wheel,) = built.glob("*.whl")
    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "JAX_COMPILATION_CACHE_DIR")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"JAX_PLATFORMS": "cpu", "GIT_CONFIG_COUNT": "0"}

    def run(*command, code=0):
        outcome = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert outcome.returncode == code, outcome.stdout + outcome.stderr
        return outcome

    identity = ("-c", "user.name=x", "-c", "user.email=x@x")
    run("git", "init", "--quiet")
    run("git", *identity, "commit", "--quiet", "--allow-empty", "--message=theirs")
    venv.create(tmp_path / "env", with_pip=True)
    python = str(tmp_path / "env" / "bin" / "python")
    constraints = f"--constraint={ROOT}/constraints/tested.txt"

    run(python, "-m", "pip", "install", "--quiet", constraints, str(wheel))
    run(python, "-c", "import oddn_jax; oddn_jax.load('quickstart')")
    alone = run(python, "-m", "experiments.predict", code=2)
    assert alone.stderr.startswith("experiments needs matplotlib, ") and alone.stderr.count("\n") == 1
    assert "pip install 'oddn_jax[train,data]'" in alone.stderr

    run(python, "-m", "pip", "install", "--quiet", constraints, f"{wheel}[train,data]")
    run(python, "-c", "from data_pipelines.video import read_video; import experiments.vqa.answering")
    run(python, "-m", "experiments.predict", "--num_frames=4", "--num_steps=1")
    assert (tmp_path / "runs" / "predict" / "simulated" / "predictions.npz").exists()

    build = [python, "-m", "data_pipelines.build", "simulated_clevrer/quickstart", "--jobs=2"]
    run(*build, *(f"--{name}={value}" for name, value in SIZES.items()))
    run(python, "-m", "experiments.clevrer_pretrain", *TRAIN)
    versions = json.loads((tmp_path / "run" / "versions.json").read_text())
    assert versions["commit"] is None and versions["packages"]["oddn_jax"] == "0.1.0"
    text = run(python, "-m", "experiments.clevrer_pretrain", "--help").stdout
    assert "default experiments/configs/clevrer.py:quickstart" in text
