"""Nothing is lost: not by thirty kills, not by a full disk."""

import json

import pytest

from experiments.runs import checkpoints
from tests.experiments.kill_loop import run_kill_loop
from tests.experiments.test_checkpoints import assert_is_step, make_trees, restore, save_steps


@pytest.mark.slow
def test_thirty_kills_lose_nothing(data_dir, tmp_path):
    found = run_kill_loop(tmp_path, data_dir)
    print(json.dumps(found))
    assert found["kills"] == 30 and found["resumed"] >= 25 and found["during_a_save"] >= 10
    assert found["checkpoints_compared"] >= 30


# Orbax leaves the event loop of a failed write to the garbage collector, which complains.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_is_one_line_and_loses_nothing_older(small_disk):
    folder, enlarge = small_disk
    with pytest.raises(
        OSError, match=r"^no checkpoint could be written to [^\n]*the disk is full, make room[^\n]*$"
    ):
        with checkpoints.open_manager(folder, 100) as manager:
            for step in range(100):
                checkpoints.save(manager, step, *make_trees(step), "config")
                checkpoints.wait(manager)
    restored, said, held = restore(folder)
    assert step > 0 and said == [] and held == list(range(step))
    assert_is_step(restored, step - 1)
    enlarge()
    save_steps(folder, [step])
    assert_is_step(restore(folder)[0], step)


@pytest.mark.slow
def test_a_disk_that_fills_up_during_a_run_is_one_line(small_disk, data_dir, run_program):
    folder, enlarge = small_disk
    (folder / "of_others").write_bytes(bytes(950_000))  # full after some tens of steps
    command = (
        *(
            "-m",
            "experiments.clevrer_pretrain",
            "--config=tests/experiments/tiny.py",
            f"--workdir={folder}/run",
        ),
        f"--config.data.data_dir={data_dir}",
        *(
            "--config.num_steps=2000",
            "--config.log_every=1",
            "--config.save_every=2000",
            "--config.eval_every=2000",
        ),
    )
    code, output = run_program(*command)
    assert code == 2, output
    assert output.splitlines()[-1].startswith(
        f"clevrer_pretrain: the disk of {folder}/run is full: make room"
    )
    assert "Traceback" not in output and "Exception" not in output
    enlarge()
    code, output = run_program(*command[:-4], "--config.num_steps=3")
    assert code == 0, output
