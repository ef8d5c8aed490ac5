"""The tables that are published: their page is made of their files, and each number says how it is made again."""

import argparse
import pathlib
import re
import shutil

import pytest

from experiments import reproduce
from experiments.reproduction import budgets, files
from experiments.reproduction.targets import TARGETS

PUBLISHED = pathlib.Path(__file__).parents[2] / "docs" / "results"


def test_the_page_is_that_of_the_files(tmp_path):
    for path in [*PUBLISHED.glob("*.csv"), *PUBLISHED.glob("*.png")]:
        shutil.copy(path, tmp_path)
    parser = argparse.ArgumentParser()
    reproduce.add_arguments(parser)
    reproduce.main(parser.parse_args(["page", "--budget=small", f"--workdir={tmp_path}"]))
    text = (tmp_path / "small.md").read_text()
    assert text == (PUBLISHED / "small.md").read_text()
    assert "Not made yet" not in text
    shown = {name for name in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)}
    assert shown == {path.name for path in PUBLISHED.glob("*.png")}


@pytest.mark.parametrize("name", TARGETS)
def test_each_number_says_how_it_is_made_again(name):
    """By a command, at a commit, from a recipe that is still the table's; none has two origins."""
    lines = files.read_csv(PUBLISHED / f"small-{name}.csv")
    results = files.read_results(TARGETS[name], lines)
    seeds = {int(line["seed"]) for line in lines if line["seed"] != "all"}
    planned = budgets.plan(TARGETS[name], budgets.BUDGETS["small"], pathlib.Path("runs"), max(seeds) + 1)
    recipes = {entry.recipe: entry for entry in planned}
    assert results.keys() <= recipes.keys()
    for recipe, result in results.items():
        facts, label = result.facts, recipes[recipe].label
        assert facts["command"] == f"python -m experiments.reproduce {name} --budget=small --only='{label}'"
        assert re.fullmatch("[0-9a-f]{40}", facts["commit"]) and re.fullmatch(
            "[0-9a-f]{64}", facts["params_sha256"]
        )
        assert facts["simulated"] == "simulated" and not pathlib.Path(facts["run"]).is_absolute()
        assert recipes[recipe].row in result.scores
