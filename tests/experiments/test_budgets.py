"""What is spent on each run of the paper's tables, and what that costs."""

import pytest

from experiments import config as configs
from experiments.config import TrainConfig
from experiments.reproduction import budgets, costs
from experiments.reproduction.targets import TARGETS
from experiments.vqa import config as vqa_config
from oddn_jax.reasoning import ALOEConfig
from tests.experiments import tiny, toy_config


def test_timed_steps_are_measured():
    rate = costs.timed_rate(toy_config.get_config(), num_steps=1)
    assert rate.seconds > 0 and rate.compile_seconds > 0 and "1 timed steps" in rate.source
    assert costs.work_left(tiny.get_config(), 4) == 2 * 4 * 3


def test_timed_steps_of_a_reasoner_are_measured():
    config = vqa_config.VQAConfig(
        model=ALOEConfig(num_layers=1, num_heads=1, head_size=4, hidden_size=8, word_size=2),
        num_frames=2,
        batch_size=5,
    )
    rate = costs.timed_rate(config, num_steps=1)
    assert rate.seconds > 0 and "1 timed steps" in rate.source


@pytest.mark.parametrize("budget", budgets.BUDGETS)
@pytest.mark.parametrize("name", TARGETS)
def test_plans_are_runs_with_equal_budgets(name, budget, tmp_path):
    entries = budgets.plan(TARGETS[name], budgets.BUDGETS[budget], tmp_path, 2)
    trained = {row.name for row in TARGETS[name].rows if row.variant}
    extra = {"blind"} & set(TARGETS[name].references)
    assert {(entry.row, entry.seed) for entry in entries} == {
        (row, s) for row in trained | extra for s in (0, 1)
    }
    by_folder, equal = {}, set()
    for entry in entries:
        for number, (folder, config) in enumerate(entry.stages):
            assert (
                by_folder.setdefault(folder, config) == config
            )  # rows share a folder only if they share the run
            assert config.seed == entry.seed
            if isinstance(config, TrainConfig):
                configs.check(config, 1)
                clips = (config.data, config.num_steps, config.batch_size, config.curriculum)
                equal.add((number, str(clips)))
            else:
                vqa_config.check(config)
    stages = 2 if budget == "full" and name != "figure8" else 1
    assert len(equal) == stages


def test_the_paper_s_sizes_in_the_full_budget(tmp_path):
    def sizes(name):
        entries = budgets.plan(TARGETS[name], budgets.BUDGETS["full"], tmp_path, 1)
        found = {entry.row: entry.stages[0].config for entry in entries}
        return {
            row: (
                config.data.name,
                config.data.config,
                config.model.image_width,
                getattr(config.model, "latent_size", 0),
            )
            for row, config in found.items()
            if isinstance(config, TrainConfig)
        }

    assert set(sizes("table3").values()) == {("clevrer", "64x64", 64, 64)}
    answers = sizes("table2")
    assert answers.pop("IODINE (20)") == ("clevrer", "64x96", 96, 20)
    assert set(answers.values()) == {("clevrer", "64x96", 96, 16)}
    assert {size[:3] for size in sizes("figure8").values()} == {("block_towers", "64x64", 64)}
    (first, second, _) = budgets.plan(TARGETS["table1"], budgets.BUDGETS["full"], tmp_path, 1)[1].stages
    assert second.config.init_from == str(first.folder) and second.config.data.clips == "collision"
    assert (first.config.num_steps, second.config.num_steps) == (100_000, 60_000)
