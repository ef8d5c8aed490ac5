"""A folder has one process at a time: with locks, without, from other hosts, after a kill; nobody waits unasked."""

import contextlib
import json
import os
import subprocess
import sys
import threading

import pytest

from data_pipelines import claims

HOLD = """
import sys
from data_pipelines import claims
folder, locks, renewal = sys.argv[1:]
claims.RENEWAL, claims.SETTLING = float(renewal), 0
if locks == "no locks":
    claims.fcntl = None
with claims.claim(folder):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["locks", "no locks"])
def locks(request, monkeypatch):
    """The disk has locks, or none, as some of networks have; waiting for signs of life takes no time that counts."""
    monkeypatch.setattr(claims, "SETTLING", 0.0)
    monkeypatch.setattr(claims, "RENEWAL", 0.02)
    if request.param == "no locks":
        monkeypatch.setattr(claims, "fcntl", None)
    return request.param


@pytest.fixture
def start():
    """Starts a process that holds a folder until its input ends."""
    with contextlib.ExitStack() as stack:

        def hold(folder, locks="locks", renewal=0.02):
            process = subprocess.Popen(
                [sys.executable, "-c", HOLD, str(folder), locks, str(renewal)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(process.communicate)
            stack.callback(process.kill)
            assert process.stdout.readline() == "held\n"
            return process

        yield hold


def words(**changes):
    """What a process of another machine has written; it has our process number, as in a container."""
    return json.dumps(
        {"host": "other", "pid": os.getpid(), "since": "then", "machine": "x", "token": "y", "beat": 1}
        | changes
    )


def test_the_second_is_told_who_has_it_and_a_killed_one_is_no_obstacle(
    locks, start, tmp_path, monkeypatch, capsys
):
    first = start(tmp_path, locks)
    monkeypatch.setattr(claims, "SILENCE", 600.0)  # so long that only a sign of life can end the wait
    with pytest.raises(BlockingIOError, match=rf"^\S+ is in use by process {first.pid} on ") as caught:
        with claims.claim(tmp_path):
            raise AssertionError
    assert "\n" not in str(caught.value) and "remove" not in str(caught.value)
    if locks == "no locks":
        monkeypatch.setattr(claims, "SILENCE", 0.1)
        assert "waiting up to 600 s for a sign of life" in capsys.readouterr().err
    first.kill()
    first.wait()
    assert (tmp_path / claims.FILENAME).exists()
    with claims.claim(tmp_path):  # with locks at once: it would wait ten minutes
        assert json.loads((tmp_path / claims.FILENAME).read_text())["pid"] == os.getpid()
    assert not (tmp_path / claims.FILENAME).exists()
    assert ("waiting up to" in capsys.readouterr().err) == (locks == "no locks")


def test_who_waits_says_so_once_and_goes_on(locks, start, tmp_path, monkeypatch, capsys):
    first = start(tmp_path, locks)
    rest = claims.time.sleep

    def sleep(seconds):
        if "waiting for" in (said := capsys.readouterr().err):
            heard.append(said)
            first.communicate()  # ends well
        rest(seconds)

    heard = []
    monkeypatch.setattr(claims.time, "sleep", sleep)
    with claims.claim(tmp_path, wait=True):
        pass
    assert len(heard) == 1 and f"waiting for process {first.pid} on " in heard[0]


def test_one_of_another_machine_counts_as_alive_as_long_as_it_gives_signs(
    locks, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(claims, "SILENCE", 600.0)
    path, rest = tmp_path / claims.FILENAME, claims.time.sleep
    path.write_text(words())

    def sleep(seconds):
        path.write_text(words(beat=2))
        rest(seconds)

    monkeypatch.setattr(claims.time, "sleep", sleep)
    with pytest.raises(
        BlockingIOError, match=r"in use by process .* on other .*if that machine is gone, remove"
    ):
        with claims.claim(tmp_path):
            raise AssertionError
    assert json.loads(path.read_text())["host"] == "other"

    monkeypatch.setattr(claims.time, "sleep", rest)
    monkeypatch.setattr(claims, "SILENCE", 0.1)
    with claims.claim(tmp_path):
        assert json.loads(path.read_text())["host"] != "other"


@pytest.mark.parametrize("content", ["", "{", "7", '{"token": 3}', "\0" * 512])
def test_words_that_a_lost_machine_has_damaged_are_no_obstacle(locks, tmp_path, monkeypatch, content):
    monkeypatch.setattr(claims, "SILENCE", 0.05)
    (tmp_path / claims.FILENAME).write_text(content)
    with claims.claim(tmp_path):
        claims.check(tmp_path)


def test_a_disk_that_refuses_locks_stops_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "SETTLING", 0.0)

    def no_locks(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(claims.fcntl, "flock", no_locks)
    with claims.claim(tmp_path):
        assert (tmp_path / claims.FILENAME).exists()


def test_of_two_that_come_at_once_without_locks_one_prevails(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "fcntl", None)
    monkeypatch.setattr(claims.time, "sleep", lambda _: (tmp_path / claims.FILENAME).write_text(words()))
    with pytest.raises(BlockingIOError, match="on other"):
        with claims.claim(tmp_path):
            raise AssertionError


def test_one_that_was_taken_for_dead_stops_and_leaves_the_folder_to_the_other(tmp_path):
    with claims.claim(tmp_path):
        claims.check(tmp_path)
        (tmp_path / claims.FILENAME).unlink()
        claims.check(tmp_path)  # removed by hand: still ours
        (tmp_path / claims.FILENAME).write_text(words())
        with pytest.raises(BlockingIOError, match=r"was taken over by process .* on other"):
            claims.check(tmp_path)
    assert json.loads((tmp_path / claims.FILENAME).read_text())["host"] == "other"
    claims.check(tmp_path)  # no claim of ours


def test_it_renews_its_words(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "RENEWAL", 0.001)
    with claims.claim(tmp_path):
        while claims._read(tmp_path / claims.FILENAME).get("beat", 0) < 3:
            pass


def test_what_holds_it_may_claim_it_again_and_another_thread_may_not(locks, tmp_path):
    caught = []

    def other():
        try:
            with claims.claim(tmp_path):
                pass
        except BlockingIOError as error:
            caught.append(error)

    (tmp_path / "link").symlink_to(tmp_path)
    with claims.claim(tmp_path):
        with claims.claim(tmp_path / "link"):
            pass
        claims.check(tmp_path)
        assert (tmp_path / claims.FILENAME).exists()
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(caught) == 1
