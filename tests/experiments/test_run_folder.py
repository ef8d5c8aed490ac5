"""A run folder belongs to one run at a time, of whatever kind; its records say whose code it was."""

import contextlib
import os
import shutil
import subprocess
import threading

import pytest

from data_pipelines import claims
from experiments.reproduction import running
from experiments.reproduction.budgets import Entry, Stage
from experiments.runs import checkpoints, run_folder, trained
from experiments.training import loop
from experiments.vqa import extraction, training
from tests.experiments import tiny
from tests.experiments.untrained import write_run


@pytest.fixture
def taken():
    """Lets somebody else hold a folder while a block runs."""

    @contextlib.contextmanager
    def take(folder):
        begun, ended = threading.Event(), threading.Event()

        def hold():
            with claims.claim(folder):
                begun.set()
                ended.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        begun.wait()
        try:
            yield ended.set
        finally:
            ended.set()
            thread.join()

    return take


def test_no_kind_of_run_starts_where_another_is_at_work(taken, data_dir, tmp_path, monkeypatch):
    config = tiny.get_config()
    config.data.data_dir = str(data_dir)
    entry = Entry("row", 0, (Stage(tmp_path, config),))
    monkeypatch.setattr(running, "train", lambda stage: None)
    with taken(tmp_path):
        before = sorted(tmp_path.iterdir())
        for start in (
            lambda: loop.fit(config, tmp_path),
            lambda: training.fit(vqa_config(), tmp_path, None, None),
            lambda: running.measure(entry, has_pictures=False),
        ):
            with pytest.raises(
                BlockingIOError, match=r"^\S+ is in use by process \d+ on \S+ \(since \S+\): wait"
            ):
                start()
        assert sorted(tmp_path.iterdir()) == before


def vqa_config():
    from experiments.configs import clevrer_vqa

    return clevrer_vqa.get_config("quickstart")


def test_features_that_another_extracts_are_waited_for(taken, data_dir, tmp_path, monkeypatch, capsys):
    write_run(tmp_path / "run", data_dir)
    found = trained.open_trained(run=str(tmp_path / "run"))
    with taken(tmp_path / "features") as end:
        monkeypatch.setattr(claims.time, "sleep", lambda _: end())
        numbers = extraction.extract(found, found.data, tmp_path / "features", ["train"], limit=1)
    assert numbers == {"train": 1}
    assert f"waiting for process {os.getpid()} on " in capsys.readouterr().err


def test_a_run_whose_folder_was_taken_over_saves_no_more(tmp_path):
    arrays = {"a": [1.0]}
    with run_folder.hold(tmp_path), checkpoints.open_manager(tmp_path, 3) as manager:
        checkpoints.save(manager, 1, arrays, arrays, "x")
        checkpoints.wait(manager)
        (tmp_path / claims.FILENAME).write_text('{"host": "other", "pid": 7, "since": "now", "token": "y"}')
        with pytest.raises(BlockingIOError, match="was taken over by process 7 on other"):
            checkpoints.save(manager, 2, arrays, arrays, "x")
    assert checkpoints.saved_steps(tmp_path) == [1]


def test_a_copy_in_somebody_s_repository_has_not_their_commit(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ("-c", "user.name=x", "-c", "user.email=x@x")
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    copy = tmp_path / "site-packages" / "run_folder.py"
    copy.parent.mkdir()
    shutil.copy(run_folder.__file__, copy)
    monkeypatch.setattr(run_folder, "__file__", str(copy))
    git("init")
    git("commit", "--allow-empty", "--message=theirs")
    assert run_folder._commit() is None
    git("add", ".")
    git("commit", "--message=a clone holds its own files")
    assert len(run_folder._commit()) == 40
