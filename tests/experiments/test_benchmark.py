"""The benchmark: a record that adds up, and a table of it."""

import json

import pytest

from experiments import benchmark, command_line
from experiments.configs import baselines
from experiments.measuring import layers, speed
from tests.experiments.tiny import get_config


def run_benchmark(*arguments):
    with pytest.raises(SystemExit) as end:
        command_line.run_tool(benchmark.main, benchmark.add_arguments, ["benchmark", *arguments])
    return end.value.code


@pytest.mark.parametrize("names", [("rollout",), pytest.param(speed.FUNCTIONS, marks=pytest.mark.slow)])
def test_the_model_s_part_adds_up(names):
    config = get_config()
    record = speed.measure_model(config, repeats=1, names=names)
    assert tuple(record["model"]) == names
    best = max(record["ceiling"].values())
    for name, row in record["model"].items():
        assert row["gflop_per_second"] == pytest.approx(row["gflop"] / row["seconds"])
        assert row["share_of_ceiling"] == pytest.approx(row["gflop_per_second"] / best)
        images = config.batch_size * (6 if name == "rollout" else config.curriculum[-1][1])
        assert row["images_per_second"] == pytest.approx(images / row["seconds"])
        assert row["bytes"] > 1e4
    if len(names) > 1:
        inferring, training = (record["model"][name]["gflop"] for name in ("infer", "training step"))
        assert 2 * inferring < training < 4 * inferring
    record |= dict(preset="tiny", batch_size=4, num_frames=3, compute_dtype="float32", remat="none")
    lines = benchmark.table(record | {"devices": "1 x cpu", "packages": {"jax": "0"}}).splitlines()
    assert tuple(line.split("  ")[0] for line in lines[3:-1]) == names


def test_the_layers_part(capsys):
    record = {"layers": layers.measure_layers(get_config(), repeats=1)}
    assert [row["pass"] for row in record["layers"]] == 3 * list(layers.PASSES)
    assert all(row["used"] > 0 for row in record["layers"])
    record |= dict(preset="tiny", batch_size=4, num_frames=3, compute_dtype="float32", remat="none")
    lines = benchmark.table(record | {"devices": "1 x cpu", "packages": {"jax": "0"}}).splitlines()
    assert len(lines) == 3 + 9 and lines[2].endswith("used")
    with pytest.raises(ValueError, match="not those of the backbone"):
        layers.measure_layers(baselines.get_config("srvp"), repeats=1)


def test_interleaved_calls_take_turns():
    calls = []
    functions = {name: lambda name=name: calls.append(name) for name in "ab"}
    seconds = speed.interleave(functions, 3)
    assert calls == list("ababab") and seconds.keys() == {"a", "b"} and min(seconds.values()) > 0


def test_the_data_s_part(capsys):
    assert run_benchmark("--parts=data", "--num_frames=3", "--batch_size=2", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert set(record["data"]) == {
        "simulated_videos_per_second",
        "decoded_frames_per_second",
        "loaded_frames_per_second",
    }
    assert min(record["data"].values()) > 0 and record["commit"] is not None


@pytest.mark.parametrize(
    "argument, message",
    [
        ("--parts=modell", "'modell' is not one of model, layers, growth, data"),
        ("--batch_size=0", "--batch_size must be at least 1"),
        ("--num_frames=2", "--num_frames at least 3"),
        ("--repeats=0", "--repeats is 0"),
        ("--output=nowhere/speed.json", "no folder nowhere"),
    ],
)
def test_wrong_use_is_one_line(capsys, argument, message):
    assert run_benchmark(argument) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
