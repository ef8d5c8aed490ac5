"""A set of seeds: each its own run, all reported, the best one by the validation bound."""

import json

import pytest

from experiments import seeds
from experiments.runs import checkpoints, run_folder
from tests.experiments.tiny import get_config


@pytest.fixture
def config(data_dir):
    config = get_config()
    config.data.data_dir = str(data_dir)
    config.num_steps, config.eval_every = 2, 1
    return config


def validations(workdir):
    rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return {row["step"]: row["loss"] for row in rows if row["split"] == "valid"}


def test_a_set_of_two(config, tmp_path, capsys):
    seeds.main(config, tmp_path, num_seeds=2)
    losses = {seed: validations(tmp_path / f"seed_{seed}") for seed in (0, 1)}
    assert all(sorted(of_seed) == [1, 2] for of_seed in losses.values())
    report = json.loads((tmp_path / "seeds.json").read_text())
    assert [run["seed"] for run in report["runs"]] == [0, 1]
    for run in report["runs"]:
        assert run["loss"] == min(losses[run["seed"]].values()) == losses[run["seed"]][run["step"]]
        assert run_folder.load_config(run["workdir"]).seed == run["seed"]
    assert report["best_seed"] == min(losses, key=lambda seed: min(losses[seed].values()))
    digests = {checkpoints.digest(checkpoints.load_params(tmp_path / f"seed_{seed}")) for seed in losses}
    assert len(digests) == 2
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and [line.split()[0] for line in lines[1:]] == ["seed", "0", "1"]
    assert [line.endswith("best") for line in lines[2:]] == [seed == report["best_seed"] for seed in losses]

    seeds.main(config, tmp_path, num_seeds=2)  # nothing is left to do
    assert capsys.readouterr().out.splitlines() == lines


def test_a_seed_that_diverges_is_reported_and_the_others_train(config, tmp_path, monkeypatch, capsys):
    def fit(config, workdir):
        workdir.mkdir()
        losses = {7: [3.0, float("nan")], 8: [5.0, 4.5], 9: [4.9, 4.8]}[config.seed]
        rows = [{"step": step, "split": "valid", "loss": loss} for step, loss in enumerate(losses)]
        (workdir / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        if config.seed == 7:
            raise FloatingPointError("loss is not finite at steps 2")

    monkeypatch.setattr(seeds, "fit", fit)
    config.seed = 7
    with pytest.raises(FloatingPointError, match=r"^1 of 3 seeds stopped: 7$"):
        seeds.main(config, tmp_path, num_seeds=3)
    report = json.loads((tmp_path / "seeds.json").read_text())
    assert report["best_seed"] == 8
    assert [run["stopped"] for run in report["runs"]] == ["loss is not finite at steps 2", None, None]
    assert [(run["step"], run["loss"]) for run in report["runs"]] == [(0, 3.0), (1, 4.5), (1, 4.8)]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines[2:]] == ["stopped", "best", "-"]


def test_each_seed_starts_from_its_own(config, tmp_path):
    config.init_from = str(tmp_path)
    (tmp_path / "seed_3").mkdir()
    assert seeds.config_of_seed(config, 3).init_from == str(tmp_path / "seed_3")
    assert seeds.config_of_seed(config, 4).init_from == str(tmp_path)
    assert (seeds.config_of_seed(config, 4).seed, config.seed) == (4, 0)


def test_seeds_of_the_second_stage_take_each_its_own_model(config, tmp_path, monkeypatch):
    trained = []

    def fit(config, workdir):
        workdir.mkdir(parents=True)
        trained.append(config)

    monkeypatch.setattr(seeds, "fit", fit)
    for seed, num_slots in ((0, 4), (1, 5)):
        before = get_config()
        before.model.num_slots, before.data.stride = num_slots, 8
        run_folder.open_run(tmp_path / "before" / f"seed_{seed}", before)
    config.init_from, config.data.clips = str(tmp_path / "before"), "collision"
    seeds.main(config, tmp_path / "after", num_seeds=2)
    assert [(c.model.num_slots, c.data.stride, c.data.clips) for c in trained] == [
        (4, 8, "collision"),
        (5, 8, "collision"),
    ]


def test_at_least_one_seed(config, tmp_path):
    with pytest.raises(ValueError, match="--num_seeds is 0"):
        seeds.main(config, tmp_path, num_seeds=0)
