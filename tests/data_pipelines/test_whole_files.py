"""A file is there whole or not at all, whoever else writes it."""

import os
import signal
import subprocess
import sys

import pytest

from data_pipelines import whole_files
from data_pipelines.whole_files import check_output, whole_file


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


def test_a_link_stays_and_its_file_is_written(tmp_path):
    for name in ("there", "to come"):
        target, link = tmp_path / "disk" / name, tmp_path / name
        link.symlink_to(target)
        if name == "there":
            target.parent.mkdir()
            target.write_text("before")
        with whole_file(link) as partial:
            partial.write_text("after")
        assert link.is_symlink() and target.read_text() == "after"
    assert names(tmp_path / "disk") == ["there", "to come"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_or_device_is_written_to_and_stays(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        with whole_file(path) as same:
            same.write_text("words")
        assert os.read(reader, 100) == b"words"
    finally:
        os.close(reader)
    assert path.is_fifo() and names(tmp_path) == ["pipe"]


def test_an_output_that_cannot_be_is_told_before(tmp_path):
    (tmp_path / "file").write_text("kept")
    wrong = {
        "none/a.json": "there is no folder .*none; make it first",
        "file/a.json": "there is no folder .*file; make it first",
        ".": "is a folder, name a file",
        "x" * 300: "cannot be written: File name too long",
    }
    for name, message in wrong.items():
        with pytest.raises(OSError, match=f"^--output: .*{message}"):
            check_output(tmp_path / name, "--output")
    for name in ("file", "new"):
        check_output(tmp_path / name, "--output")
    assert names(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "kept"


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
