"""Building: interruption, determinism, quiet, and the command line."""

import functools
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_pipelines import build, loaders
from data_pipelines.parallel import ordered_map

SMALL = ["--num_train=6", "--num_validation=2", "--height=16", "--width=16", "--supersampling=1"]


@pytest.fixture
def start():
    """Starts builds that last some seconds; whatever still runs at the end of a test is killed."""
    processes = []

    def start_build(data_dir: Path, *options: str, jobs: int = 2) -> subprocess.Popen:
        command = [sys.executable, "-m", "data_pipelines.build", "simulated_clevrer/quickstart", *options]
        data_dir.mkdir(exist_ok=True)
        # Into files, never into pipes, which an orphan would hold open.
        with (data_dir / "out").open("w") as out, (data_dir / "err").open("w") as err:
            process = subprocess.Popen(
                [*command, f"--data_dir={data_dir}", f"--jobs={jobs}"],
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        processes.append(process)
        return process

    yield start_build
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_until(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def _group_is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def _shards(data_dir: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(data_dir)): path.read_bytes()
        for path in sorted(data_dir.rglob("*"))
        if path.is_file() and path.parent.name == build.VERSION
    }


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_build_leaves_no_data_set(start, tmp_path, ending):
    options = ("--num_train=24", "--num_validation=2", "--supersampling=1")
    process = start(tmp_path / "data", *options)
    config = "quickstart-num_train_24-num_validation_2-supersampling_1"
    _wait_until(lambda: list(tmp_path.rglob(f"incomplete.*_{build.VERSION}/*.array_record*")))
    # Ctrl-C reaches the workers as well.
    (os.kill if ending == signal.SIGKILL else os.killpg)(process.pid, ending)
    process.wait(timeout=60)
    _wait_until(lambda: _group_is_gone(process.pid))  # its workers too
    assert process.returncode == (-9 if ending == signal.SIGKILL else 130)
    leftover = list(tmp_path.rglob("incomplete*"))
    assert bool(leftover) == (ending == signal.SIGKILL)
    path = build.dataset_path("simulated_clevrer", config, tmp_path / "data")
    assert not path.exists()
    assert not build.is_built("simulated_clevrer", config, tmp_path / "data")
    with pytest.raises(
        FileNotFoundError, match=r"python -m data_pipelines\.build simulated_clevrer/quickstart"
    ):
        loaders.dataset_summary(path)
    if ending == signal.SIGINT:
        assert (tmp_path / "data" / "err").read_text() == "interrupted, nothing was kept\n"
        return

    again = start(tmp_path / "data", *options)
    assert again.wait(timeout=120) == 0
    assert not list(tmp_path.rglob("incomplete*"))
    assert loaders.dataset_summary(path).splits == {"train": 24, "validation": 2}


def test_bytes_do_not_depend_on_jobs_and_no_tensorflow(start, tmp_path):
    processes = [start(tmp_path / "two", *SMALL, jobs=2)]
    for data_dir in ("one", "again"):
        arguments = ["simulated_clevrer", f"--data_dir={tmp_path}/{data_dir}", "--jobs=1", *SMALL]
        code = (
            "import sys; from data_pipelines import build\n"
            f"assert build.main({arguments}) == 0\n"
            "assert 'tensorflow' not in sys.modules\n"
            "assert 'jax' not in sys.modules\n"
        )
        result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
        assert (result.returncode, result.stderr) == (0, "")
    assert processes[0].wait(timeout=60) == 0
    shards = _shards(tmp_path / "two")
    assert any(name.endswith("array_record-00000") for name in shards)
    assert shards == _shards(tmp_path / "one") == _shards(tmp_path / "again")
    assert (tmp_path / "two" / "err").read_text() == ""
    assert (tmp_path / "two" / "out").read_text().startswith("videos      8\nframes      80\n")
    # Nothing but the data set: TFDS would also make folders for downloads.
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["simulated_clevrer"]


def test_a_built_data_set_is_returned_at_once(tmp_path, capsys):
    arguments = ["simulated_clevrer", f"--data_dir={tmp_path}", "--jobs=1", *SMALL]
    assert build.main(arguments) == 0
    first = capsys.readouterr().out
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert build.main(arguments) == 0
    assert "was built already" in (second := capsys.readouterr().out)
    assert second.endswith(first)
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "arguments,said",
    [
        ([], "name a data set"),
        (["clever"], "no data set 'clever'; there are clevrer, simulated_clevrer"),
        (["clevrer/32x32"], "no config '32x32'; there are 64x64, 64x96"),
        (["simulated_clevrer", "--heigth=3"], "--heigth"),
        (["simulated_clevrer", "--height=three"], "three"),
        (["simulated_clevrer", "--height=0"], "height must be at least 1"),
        (["simulated_clevrer", "--scenes=towers"], "scenes must be one of"),
        (["simulated_clevrer", "--num_frames=11"], "span more than the 37 frames"),
        (["simulated_clevrer", "--jobs=0"], "jobs must be at least 1"),
        (["clevrer", "--crop=perhaps"], "perhaps"),
        (["clevrer", "--limit=-1"], "limit"),
    ],
)
def test_wrong_use_gives_one_line_and_exit_code_2(tmp_path, capsys, arguments, said):
    assert build.main([*arguments, f"--data_dir={tmp_path}"]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not list(tmp_path.rglob("*.array_record*"))


def test_an_unwritable_folder_gives_one_line(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert build.main(["simulated_clevrer", f"--data_dir={tmp_path}/file", "--jobs=1"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_names_are_derived_from_options():
    assert build.make_config("simulated_clevrer").name == "quickstart"
    assert build.make_config("simulated_clevrer", "64x64", height=64).name == "64x64"
    config = build.make_config("simulated_clevrer", "64x64", stride=4, num_train=3)
    assert config.name == "64x64-stride_4-num_train_3"
    assert (config.stride, config.num_train, config.height) == (4, 3, 64)
    assert build.make_config("clevrer", "64x64", crop=False, width=96).name != "64x96"
    with pytest.raises(ValueError, match="no option colour"):
        build.make_config("clevrer", "64x64", colour=3)


def test_results_come_in_order_and_errors_come_through():
    tasks = [functools.partial(int, text) for text in ("3", "1", "2", "seven", "5")]
    for jobs in (1, 2):
        results = ordered_map(tasks, jobs)
        assert [next(results) for _ in range(3)] == [3, 1, 2]
        with pytest.raises(ValueError, match="seven"):
            next(results)


def test_building_leaves_the_callers_log_as_it_was(tmp_path, monkeypatch):
    """A program that silences Orbax's narration stays silent after it has built its data."""
    monkeypatch.setattr(logging.getLogger("absl"), "level", logging.CRITICAL)
    config = build.make_config("simulated_clevrer_qa", "quickstart", num_train=1, num_validation=1)
    build.build("simulated_clevrer_qa", config, tmp_path, jobs=1, progress=False)
    assert logging.getLogger("absl").level == logging.CRITICAL
