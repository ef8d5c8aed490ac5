"""Scripts without `if __name__ == "__main__"`: what they ask for is done once, whatever processes it starts."""

import os
import subprocess
import sys

import pytest

from tests.conftest import PATIENCE, ROOT

TRAIN = """
import sys
from experiments.training.loop import fit
from tests.experiments.tiny import get_config
config = get_config()
config.data.data_dir, config.num_steps = sys.argv[1] + "/data", 2
print("ended at", fit(config, sys.argv[1] + "/run").step)
"""
ASK = """
import sys
from experiments.configs.clevrer_vqa import get_config
from experiments.vqa.answering import train_and_evaluate
config = get_config("quickstart,blind")
config.data_dir, config.num_steps, config.batch_size, config.model.num_layers = sys.argv[1] + "/data", 2, 8, 1
config.questions = "simulated_clevrer_qa/quickstart-num_train_3-num_validation_2"
train_and_evaluate(config, sys.argv[1] + "/run")
print("ended at", config.num_steps)
"""


@pytest.mark.parametrize("script", [TRAIN, ASK], ids=["fit", "train_and_evaluate"])
def test_a_script_without_a_main_guard_learns_once(tmp_path, script):
    """Both simulate their data first, in processes of their own."""
    (tmp_path / "script.py").write_text(script)
    outcome = subprocess.run(
        [sys.executable, str(tmp_path / "script.py"), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},  # the script lies elsewhere
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.splitlines()[-1:] == ["ended at 2"] and outcome.stdout.count("ended at") == 1
