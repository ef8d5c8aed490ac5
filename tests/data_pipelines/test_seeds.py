"""One range of seeds, for everything that is drawn from one."""

import numpy as np
import pytest

from data_pipelines import build, loaders, simulator
from data_pipelines.seeds import LARGEST_SEED, check_seed
from data_pipelines.simulator.__main__ import main as simulate
from data_pipelines.simulator.config import CLEVRER, TOWERS, video_seed
from data_pipelines.simulator.towers import generate_tower
from data_pipelines.simulator.videos import generate_scene


@pytest.mark.parametrize("seed", [0, 7, LARGEST_SEED, np.int64(3), np.uint32(LARGEST_SEED)])
def test_seeds_of_the_range_pass(seed):
    check_seed("seed", seed)


@pytest.mark.parametrize("seed", [-1, LARGEST_SEED + 1, 10**20, 10**5000, 1.0, "1", True, None], ids=type)
def test_others_are_refused_in_one_line_that_names_the_option(seed, tmp_path):
    message = r"^seed is [^\n]*: a seed must be an integer from 0 to 4294967295$"
    with pytest.raises(ValueError, match=message):
        check_seed("seed", seed)
    with pytest.raises(ValueError, match=message):
        video_seed(seed, 3)
    with pytest.raises(ValueError, match=message):
        loaders.training_batches(tmp_path, "train", num_frames=3, stride=4, batch_size=2, seed=seed)
    if seed == 10**5000:
        return  # no name of a data set can hold it
    for name in (
        *("simulated_clevrer", "simulated_clevrer_qa"),
        *("simulated_clevrer_scenes", "simulated_block_towers"),
    ):
        with pytest.raises(ValueError, match=message):
            build.make_config(name, seed=seed)
    with pytest.raises(ValueError, match=f"split_{message[1:]}"):
        build.make_config("block_towers", split_seed=seed)


@pytest.mark.parametrize("seed", [-1, 10**20, "1"])
def test_the_scene_of_no_seed_is_not_simulated(seed):
    for draw in (lambda: generate_scene(CLEVRER, seed), lambda: generate_tower(TOWERS, seed)):
        with pytest.raises(ValueError, match=r"^seed is [^\n]*: a seed must be an integer from 0 to"):
            draw()
    with pytest.raises(ValueError, match=r"^seed is "):
        simulator.simulate_video(CLEVRER, seed=seed, height=8, width=8)


@pytest.mark.parametrize("seed", ["-1", "4294967296", "100000000000000000000", "one", "9" * 5000])
@pytest.mark.parametrize("command", ["clevrer", "questions", "towers"])
def test_the_simulator_names_its_option(command, seed, tmp_path, capsys):
    output = tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(simulate([command, f"--output={output}", f"--seed={seed}"]))
    assert ended.value.code == 2 and not output.exists()
    said = capsys.readouterr().err
    assert "--seed" in said and "a seed must be an integer from 0 to 4294967295" in said
