"""Building: interruption, determinism, quiet, and the command line."""

import functools
import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_pipelines import build, datasets, loaders
from data_pipelines.builders import videos
from data_pipelines.parallel import cgroup_limit, default_jobs, ordered_map
from tests.conftest import PATIENCE, ROOT

# `python -m data_pipelines.build` with parts of four videos.
PROGRAM = (
    "import sys; from data_pipelines import build; from data_pipelines.builders import videos\n"
    "videos.VIDEOS_PER_PART = 4\n"
    "if __name__ == '__main__': sys.exit(build.main())"
)
# The same, which never begins with its second part.
STALLING = PROGRAM.replace(
    "if __name__",
    "import time; from data_pipelines.builders import parts; write = parts.Incomplete.write\n"
    "def stall(place, part, *of_it): time.sleep(600 * part.number); write(place, part, *of_it)\n"
    "parts.Incomplete.write = stall\nif __name__",
)
SMALL = ["--num_train=6", "--num_validation=2", "--height=16", "--width=16", "--supersampling=1"]


@pytest.fixture
def start():
    """Starts builds that last some seconds; whatever still runs at the end of a test is killed."""
    processes = []

    def start_build(data_dir: Path, *options: str, jobs: int = 2, log: str = "", program=PROGRAM):
        command = [sys.executable, "-c", program, "simulated_clevrer/quickstart", *options]
        data_dir.mkdir(exist_ok=True)
        # Into files, never into pipes, which an orphan would hold open.
        with (data_dir / f"out{log}").open("w") as out, (data_dir / f"err{log}").open("w") as err:
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


def _wait_until(condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def _group_is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def _without_progress(said: str) -> list[str]:
    """Lines of stderr but those that come where a build takes long."""
    return [line for line in said.splitlines() if not re.search(r" a second, \S+ left$", line)]


def _shards(data_dir: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(data_dir)): path.read_bytes()
        for path in sorted(data_dir.rglob("*"))
        if path.is_file() and path.parent.name == build.VERSION
    }


NAME = "simulated_clevrer"


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of two videos, so that small data sets have several."""
    monkeypatch.setattr(videos, "VIDEOS_PER_PART", 2)


def _config(**options):
    return build.make_config(NAME, "quickstart", height=8, width=8, supersampling=1, **options)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_build_is_no_data_set_and_goes_on(start, tmp_path, ending):
    options = ("--num_train=8", "--num_validation=2", "--height=8", "--width=8", "--supersampling=1")
    process = start(tmp_path / "data", *options, program=STALLING)
    config = _config(num_train=8, num_validation=2)
    path = build.dataset_path(NAME, config.name, tmp_path / "data")
    parts = path.with_name(f"incomplete.{build.VERSION}")
    _wait_until(lambda: (parts / "train-00000.json").exists())
    whole = (parts / "train-00000").stat()
    # Ctrl-C reaches the workers as well.
    (os.kill if ending == signal.SIGKILL else os.killpg)(process.pid, ending)
    process.wait(timeout=PATIENCE)
    _wait_until(lambda: _group_is_gone(process.pid))  # its workers too
    assert process.returncode == (-9 if ending == signal.SIGKILL else 130)
    assert not path.exists() and build.built_splits(path) == ()
    with pytest.raises(
        FileNotFoundError, match=r"python -m data_pipelines\.build simulated_clevrer/quickstart"
    ):
        loaders.dataset_summary(path)
    if ending == signal.SIGINT:
        line = (tmp_path / "data" / "err").read_text().splitlines()[-1]
        assert line == "interrupted; the same command goes on from here"

    assert start(tmp_path / "data", *options, jobs=1).wait(timeout=PATIENCE) == 0
    assert loaders.dataset_summary(path).splits == {"train": 8, "validation": 2}
    first = (path / "simulated_clevrer-train.array_record-00000").stat()
    assert (first.st_ino, first.st_mtime_ns) == (whole.st_ino, whole.st_mtime_ns)  # was not made again
    assert sorted(entry.name for entry in path.parent.iterdir()) == [build.VERSION]


def test_a_killed_worker_is_one_line(start, tmp_path):
    process = start(tmp_path / "data", "--num_train=400", "--num_validation=2")

    def workers():
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    _wait_until(lambda: list(tmp_path.rglob(".train-00000.*.partial")) and workers())
    os.kill(int(workers()[0]), signal.SIGKILL)
    assert process.wait(timeout=PATIENCE) == 2
    lines = (tmp_path / "data" / "err").read_text().splitlines()
    assert lines[-1].startswith("build: a worker process was killed") and "Traceback" not in "".join(lines)
    assert not list(tmp_path.rglob("*.index.json")) and not list(tmp_path.rglob("*.partial"))


def test_a_full_disk_is_one_line_and_the_next_build_goes_on(small_disk, small_parts, tmp_path, capsys):
    folder, enlarge = small_disk
    config, sizes = _config(num_train=6, num_validation=2), ["--height=8", "--width=8", "--supersampling=1"]
    arguments = [f"{NAME}/quickstart", "--num_train=6", "--num_validation=2", *sizes, "--jobs=1"]
    (folder / "of_others").write_bytes(bytes(800_000))  # room for one part
    assert build.main([*arguments, f"--data_dir={folder}/data"]) == 2
    (line,) = _without_progress(capsys.readouterr().err)
    assert line.startswith(
        f"build: {build.dataset_path(NAME, config.name, folder / 'data')}: the disk is full"
    )
    assert not list(folder.rglob("*.index.json"))
    kept = [path.name for path in folder.rglob("train-*.json")]
    assert 0 < len(kept) < 3
    enlarge()
    assert build.main([*arguments, f"--data_dir={folder}/data"]) == 0
    assert build.main([*arguments, f"--data_dir={tmp_path}/data"]) == 0
    assert _shards(folder / "data") == _shards(tmp_path / "data") != {}


def test_splits_come_one_by_one_and_are_not_made_again(tmp_path, capsys):
    config = _config(num_train=3, num_validation=2)
    one = build.build(NAME, config, tmp_path / "one", splits=["validation"], jobs=1, progress=False)
    assert one.splits == {"validation": 2} and loaders.dataset_summary(one.path).splits == one.splits
    assert not list(one.path.glob("*train*"))
    with pytest.raises(ValueError, match="no split 'train'; there are validation"):
        loaders.training_batches(one.path, "train", num_frames=2, stride=4, batch_size=1, seed=0)
    before = {path.name: path.stat().st_mtime_ns for path in one.path.glob("*validation*")}
    both = build.build(NAME, config, tmp_path / "one", jobs=1, progress=False)
    assert both.splits == {"train": 3, "validation": 2}
    assert before == {path.name: path.stat().st_mtime_ns for path in one.path.glob("*validation*")}
    build.build(NAME, config, tmp_path / "both", jobs=1, progress=False)
    assert _shards(tmp_path / "one") == _shards(tmp_path / "both") != {}
    options = ["--num_train=3", "--num_validation=2", "--height=8", "--width=8", "--supersampling=1"]
    arguments = [f"{NAME}/quickstart", *options, f"--data_dir={tmp_path}/one"]
    assert build.main([*arguments, "--split=test"]) == 2
    assert (
        capsys.readouterr().err
        == "build: simulated_clevrer has no split 'test'; there are train, validation\n"
    )
    assert build.main([*arguments, "--split=train"]) == 0 and "was built already" in capsys.readouterr().out


def test_machines_build_one_data_set_together(small_parts, tmp_path):
    config = _config(num_train=7, num_validation=3)
    together = tmp_path / "together"

    def share(shard):
        options = dict(jobs=1, progress=False, shard=shard, num_shards=3)
        return build.build(NAME, config, together, **options)

    first = share(0)  # of the parts 0 to 3 of train and 0, 1 of validation: 0, 3 and 1
    assert first.splits == {}
    assert first.incomplete_splits == {"train": (2, 4), "validation": (0, 2)}
    assert not first.path.exists()
    assert share(2).incomplete_splits == {"train": (3, 4), "validation": (1, 2)}
    (first.path.with_name(f"incomplete.{build.VERSION}") / "train-00003").unlink()  # one is lost
    last = share(1)
    assert last.splits == {"validation": 3} and last.incomplete_splits == {"train": (3, 4)}
    assert build.build(NAME, config, together, jobs=1, progress=False).splits == {"train": 7, "validation": 3}
    build.build(NAME, config, tmp_path / "alone", jobs=1, progress=False)
    assert _shards(together) == _shards(tmp_path / "alone") != {}
    assert not list(tmp_path.rglob("incomplete*"))


def test_two_that_build_the_same_do_no_harm(start, tmp_path):
    """They take different locks, as machines would whose file system has none."""
    options = ("--num_train=12", "--num_validation=8", "--height=8", "--width=8", "--supersampling=1")
    several = [
        start(tmp_path / "both", *options, *more, jobs=1, log=str(number))
        for number, more in enumerate(
            ((), ("--shard=0", "--num_shards=2"), ("--split=validation", "--shard=0", "--num_shards=3"))
        )
    ]
    assert [process.wait(timeout=PATIENCE) for process in several] == [0, 0, 0]
    assert start(tmp_path / "alone", *options).wait(timeout=PATIENCE) == 0
    assert _shards(tmp_path / "both") == _shards(tmp_path / "alone") != {}
    assert not list(tmp_path.rglob("*.partial"))


def test_a_publication_that_was_cut_short_is_ended(small_parts, tmp_path, monkeypatch):
    config = _config(num_train=5, num_validation=2)

    def cut_short(*arguments):
        raise OSError("the machine went down")

    with monkeypatch.context() as patch:
        patch.setattr("data_pipelines.builders.parts.index_path", cut_short)
        with pytest.raises(OSError, match="went down"):
            build.build(NAME, config, tmp_path / "cut", splits=["train"], jobs=1, progress=False)
    path = build.dataset_path(NAME, config.name, tmp_path / "cut")
    assert list(path.glob("*-train.*")) and not build.built_splits(path)  # the records have moved
    build.build(NAME, config, tmp_path / "cut", splits=["train"], jobs=1, progress=False)
    build.build(NAME, config, tmp_path / "whole", splits=["train"], jobs=1, progress=False)
    assert _shards(tmp_path / "cut") == _shards(tmp_path / "whole") != {}
    assert len(datasets.open_split(path, "train").records) == 5


def test_what_another_release_began_is_not_gone_on_with(small_parts, tmp_path):
    config = _config(num_train=3, num_validation=2)
    summary = build.build(NAME, config, tmp_path, jobs=1, progress=False, shard=0, num_shards=2)
    origin = summary.path.with_name(f"incomplete.{build.VERSION}") / "origin.json"
    origin.write_text(origin.read_text().replace('"camera_distance": 2.8', '"camera_distance": 2.9'))
    with pytest.raises(ValueError, match=r"incomplete\S* was made by another release .* another config"):
        build.build(NAME, config, tmp_path, jobs=1, progress=False)


def test_bytes_do_not_depend_on_jobs_and_no_tensorflow(start, tmp_path):
    processes = [start(tmp_path / "two", *SMALL, jobs=2)]
    for data_dir in ("one", "again"):
        arguments = ["simulated_clevrer", f"--data_dir={tmp_path}/{data_dir}", "--jobs=1", *SMALL]
        code = (
            "import sys; from data_pipelines import build; from data_pipelines.builders import videos\n"
            "videos.VIDEOS_PER_PART = 4\n"
            f"assert build.main({arguments}) == 0\n"
            "assert 'tensorflow' not in sys.modules\n"
            "assert 'jax' not in sys.modules\n"
        )
        result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
        assert (result.returncode, _without_progress(result.stderr)) == (0, [])
    assert processes[0].wait(timeout=PATIENCE) == 0
    shards = _shards(tmp_path / "two")
    assert any(name.endswith("array_record-00000") for name in shards)
    assert shards == _shards(tmp_path / "one") == _shards(tmp_path / "again")
    assert _without_progress((tmp_path / "two" / "err").read_text()) == []
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
        (["simulated_clevrer", "--shard=2", "--num_shards=2"], "shard must be from 0 to num_shards - 1"),
        (["simulated_clevrer/quickstart-wings_2"], "'wings_2' is no option of quickstart"),
        (["simulated_clevrer/64x64-num_train_3-stride_4"], "it is called 64x64-stride_4-num_train_3"),
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
    assert build.make_config("simulated_clevrer", config.name) == config
    assert (
        build.make_config("simulated_clevrer", config.name, num_train=4).name == "64x64-stride_4-num_train_4"
    )
    whole = build.make_config("clevrer", "64x64", crop=False, width=96)
    assert whole.name == "64x64-width_96-crop_False" and build.make_config("clevrer", whole.name) == whole
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


def test_processors_are_counted_as_they_may_be_used(tmp_path, monkeypatch):
    def groups(lines: str, **files: str):
        for name, content in files.items():
            path = tmp_path / name.replace("__", "/").replace("_DOT_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        (tmp_path / "membership").write_text(lines)
        return cgroup_limit(tmp_path / "membership", tmp_path)

    assert groups("0::/a/b\n", a__b__cpu_DOT_max="max 100000\n") == float("inf")
    assert groups("0::/a/b\n", a__cpu_DOT_max="350000 100000\n") == 3.5  # of an outer group
    assert groups("0::/a/b\n", a__b__cpu_DOT_max="50000 100000\n") == 0.5
    version_1 = {"cpu__x__cpu_DOT_cfs_quota_us": "250000\n", "cpu__x__cpu_DOT_cfs_period_us": "100000\n"}
    assert groups("5:memory:/x\n4:cpu,cpuacct:/x\n", **version_1) == 2.5
    assert groups("4:cpu,cpuacct:/x\n", **version_1 | {"cpu__x__cpu_DOT_cfs_quota_us": "-1\n"}) == float(
        "inf"
    )
    assert cgroup_limit(tmp_path / "nowhere", tmp_path) == float("inf")

    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    for limit, jobs in ((float("inf"), 8), (2.5, 3), (0.5, 1), (16.0, 8)):
        monkeypatch.setattr("data_pipelines.parallel.cgroup_limit", lambda limit=limit: limit)
        assert default_jobs() == jobs


UNGUARDED = """
import sys
from data_pipelines import build
config = build.make_config("simulated_clevrer", "quickstart", num_train=3, num_validation=1, height=16, width=16)
print(build.build("simulated_clevrer", config, sys.argv[1], jobs=2).splits)
"""


@pytest.mark.parametrize("way", ["a file", "stdin"])
def test_a_script_without_a_main_guard_builds(tmp_path, way):
    """Workers never run the script that asks for them, which would start itself over and over."""
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    with open(script) as text:
        command = [sys.executable, str(script) if way == "a file" else "-", str(tmp_path)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}  # the script lies elsewhere
        outcome = subprocess.run(command, stdin=text, env=environment, capture_output=True, text=True)
    assert (outcome.returncode, outcome.stdout) == (0, "{'train': 3, 'validation': 1}\n"), outcome.stderr


def test_workers_load_nothing_of_the_program_that_asks():
    script = """
import sys
sys.modules["jax"] = "loaded by the program"
from functools import partial
from data_pipelines.parallel import ordered_map
import builtins
print(*ordered_map([partial(eval, "__import__('sys').modules.get('jax'), __import__('__main__').__doc__")] * 2, 2))
"""
    outcome = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)
    assert (outcome.returncode, outcome.stdout) == (0, "(None, None) (None, None)\n"), outcome.stderr
