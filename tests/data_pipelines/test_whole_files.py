"""A file is there whole or not at all, whoever else writes it."""

import os
import signal
import subprocess
import sys

import pytest

from data_pipelines import whole_files
from data_pipelines.whole_files import whole_file


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_two_that_write_the_same_file_do_not_meet(tmp_path):
    path = tmp_path / "new" / "a[1]*.txt"
    with whole_file(path) as first:
        first.write_text("first")
        with whole_file(path) as second:
            second.write_text("second, longer")
            assert not path.exists()
        assert path.read_text() == "second, longer" and first.read_text() == "first"
    assert path.read_text() == "first" and names(path.parent) == [path.name]


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(KeyError):
        with whole_file(path) as partial:
            partial.write_text("half")
            raise KeyError
    assert path.read_text() == "before" and names(tmp_path) == ["a.txt"]


def test_what_a_killed_process_left_goes_when_it_is_old(tmp_path):
    path = tmp_path / "a[1].txt"
    old, young, other = (tmp_path / f".{name}.x.partial" for name in ("a[1].txt", "a[1].txt.y", "a1.txt"))
    young = tmp_path / ".a[1].txt.young.partial"
    for leftover in (old, young, other):
        leftover.write_text("half")
    for leftover in (old, other):
        os.utime(leftover, (0, young.stat().st_mtime - whole_files.ABANDONED - 1))
    with whole_file(path) as partial:
        partial.write_text("whole")
    assert names(tmp_path) == sorted([path.name, young.name, other.name])


def test_what_a_killed_process_of_this_machine_left_goes_at_once(tmp_path):
    path = tmp_path / "file.txt"
    killed = "import os, pathlib, sys; from data_pipelines.whole_files import whole_file\n"
    killed += (
        "with whole_file(pathlib.Path(sys.argv[1])) as partial: partial.touch(); os.kill(os.getpid(), 9)"
    )
    process = subprocess.run([sys.executable, "-c", killed, str(path)])
    assert process.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    # Of a container whose process has a number that is free here.
    elsewhere = left.with_name(f".file.txt.000000000000-{left.name.partition('-')[2]}")
    elsewhere.write_text("coming about there")
    with whole_file(path) as partial:
        partial.write_text("whole")
        assert not left.exists() and not path.exists()
    assert names(tmp_path) == sorted([elsewhere.name, path.name])
