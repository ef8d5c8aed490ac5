"""The training programs one after the other, as people run them, and what fine-tuning takes from pre-training."""

import dataclasses
import json

import jax
import numpy as np
import pytest

import oddn_jax
from data_pipelines import build, loaders
from experiments.command_line import overridden_options
from experiments.configs import clevrer_collision
from experiments.finetune_collision import continue_pretraining
from experiments.runs import checkpoints, datasets, run_folder
from tests.experiments.tiny import get_config

TOWERS = dict(height=16, width=16, num_frames=8, num_train=8, num_test=4, supersampling=1)
TWO_STEPS = (
    "--config=tests/experiments/tiny.py",
    "--config.num_steps=2",
    "--config.num_valid_clips=4",
    "--config.num_figure_clips=1",
    "--config.log_every=1",
)
SLOTS = "--config.model.num_slots=4"


def read_rows(workdir, split):
    rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [row for row in rows if row["split"] == split]


def test_pretrain_then_finetune_then_towers(run_program, data_dir, tmp_path):
    pretrained, finetuned, towers = (tmp_path / name for name in ("pretrained", "finetuned", "towers"))
    code, output = run_program(
        "-m",
        "experiments.clevrer_pretrain",
        *TWO_STEPS,
        SLOTS,
        f"--config.data.data_dir={data_dir}",
        f"--workdir={pretrained}",
    )
    assert code == 0, output
    assert f"finetune_collision --config.init_from={pretrained}" in output

    # Neither the data nor the shape of the model are told again.
    finetune = ("-m", "experiments.finetune_collision", *TWO_STEPS, "--config.data.clips=collision")
    options = (f"--config.init_from={pretrained}", f"--workdir={finetuned}")
    code, output = run_program(*finetune, *options)
    assert code == 0, output
    assert f"weights: config.init_from={pretrained}" in output
    assert f"config.model.num_slots is 4, as in {pretrained}" in output and "WARNING" not in output
    config = run_folder.load_config(finetuned)
    assert config.model == run_folder.load_config(pretrained).model
    assert (config.data.data_dir, config.data.clips) == (str(data_dir), "collision")

    config = build.make_config("simulated_block_towers", "quickstart", **TOWERS)
    build.build("simulated_block_towers", config, tmp_path, jobs=1, progress=False)
    code, output = run_program(
        "-m",
        "experiments.block_towers",
        *TWO_STEPS,
        SLOTS,
        "--config.data.name=simulated_block_towers",
        f"--config.data.config={config.name}",
        "--config.data.valid_split=test",
        f"--config.data.data_dir={tmp_path}",
        f"--workdir={towers}",
    )
    assert code == 0, output
    assert f"trained 2 steps on simulated_block_towers/{config.name}" in output

    for workdir in (pretrained, finetuned, towers):
        assert [row["step"] for row in read_rows(workdir, "train")] == [1, 2]
        (valid,) = read_rows(workdir, "valid")
        assert np.isfinite(valid["loss"])
        assert len(list((workdir / "figures").glob("*.png"))) == 1
    digests = {checkpoints.digest(checkpoints.load_params(workdir, 2)) for workdir in (pretrained, finetuned)}
    assert len(digests) == 2


def test_finetuning_without_its_pretraining_as_a_program(run_program, tmp_path):
    missing = f"--config.init_from={tmp_path}/nowhere"
    code, output = run_program(
        "-m", "experiments.finetune_collision", missing, f"--workdir={tmp_path}/finetuned"
    )
    assert code == 2
    assert output == (
        f"finetune_collision: no pre-training run {tmp_path}/nowhere: make it with `python -m "
        "experiments.clevrer_pretrain --config=experiments/configs/clevrer.py:VARIANT "
        f"--workdir={tmp_path}/nowhere`\n"
    )
    assert not (tmp_path / "finetuned").exists()


@pytest.mark.parametrize(
    "variant, command",
    [
        ("quickstart", "clevrer_pretrain"),
        (
            "reasoning,no_relation",
            "clevrer_pretrain --config=experiments/configs/clevrer.py:reasoning,no_relation",
        ),
    ],
)
def test_the_missing_pretraining_has_a_command(tmp_path, monkeypatch, variant, command):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="no pre-training run runs/") as caught:
        continue_pretraining(clevrer_collision.get_config(variant))
    assert str(caught.value).endswith(f"make it with `python -m experiments.{command}`")


@pytest.fixture
def pretrained(tmp_path):
    """The folder of a run whose options are not the usual ones."""
    config = get_config()
    config.model.num_slots, config.model.student_forcing_depth = 5, 1
    config.data.data_dir, config.data.stride = "elsewhere", 8
    (tmp_path / "run").mkdir()
    run_folder.open_run(tmp_path / "run", config)
    return tmp_path / "run", config


def continued(source, *arguments):
    config = get_config()
    config.data.clips, config.init_from = "collision", str(source)
    names = overridden_options(["program", *arguments])
    for name, argument in zip(names, arguments):
        part, option = name.split(".")
        setattr(getattr(config, part), option, argument.partition("=")[2])
    return continue_pretraining(config, names)


def test_finetuning_takes_the_model_and_the_data(pretrained, capsys):
    source, before = pretrained
    config = continued(source)
    # What training predicts is the stage's own, everything else as in the run before.
    assert config.model == dataclasses.replace(before.model, student_forcing_depth=2)
    assert (config.data.data_dir, config.data.stride, config.data.clips) == ("elsewhere", 8, "collision")
    assert config.num_steps == get_config().num_steps
    said = capsys.readouterr().err
    assert f"config.model.num_slots is 5, as in {source}" in said
    assert f"config.model.student_forcing_depth is 2, in {source} it was 1" in said
    assert f"WARNING: {source} is not finished, it holds 0 of 6 steps" in said


def test_finetuning_keeps_what_was_asked_for(pretrained):
    source, before = pretrained
    config = continued(source, "--config.data.data_dir=here", "--config.model.remat=step")
    assert (config.data.data_dir, config.data.stride) == ("here", 8)
    assert (config.model.remat, config.model.num_slots) == ("step", 5)
    assert before.model.remat == "auto"


def test_a_plain_run_goes_on_as_oddn_l(pretrained):
    source, before = pretrained
    config = clevrer_collision.get_config("quickstart,long_range")
    config.init_from = str(source)
    model = continue_pretraining(config).model
    assert (before.model.long_range_steps, model.long_range_steps) == (0, 6)
    assert dataclasses.replace(model, long_range_steps=0, student_forcing_depth=1) == before.model


def test_finetuning_refuses_another_model(pretrained):
    source, _ = pretrained
    message = rf"^--config.model.features=random contradicts {source}, whose model has none: [^\n]*$"
    with pytest.raises(ValueError, match=message):
        continued(source, "--config.model.features=random")
    assert continued(source, "--config.model.features=none").model.features == "none"


def test_finetuning_an_exported_file(tmp_path):
    model = get_config().model
    model.pair_effect_size = 4
    oddn = oddn_jax.ODDN(model)
    shapes = jax.eval_shape(lambda: oddn.init(jax.random.key(0), method="initialize_parameters"))["params"]
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, "f4"), shapes)
    oddn_jax.save(str(tmp_path / "model.safetensors"), model, params)
    assert continued(tmp_path / "model.safetensors").model.pair_effect_size == 4


def test_finetuning_from_nothing():
    config = get_config()
    with pytest.raises(ValueError, match=r"^config\.init_from is not set"):
        continue_pretraining(config)


def test_collision_clips_are_validated_on_collisions(data_dir):
    config = get_config()
    config.data.data_dir, config.data.clips = str(data_dir), "collision"
    path = datasets.prepare(config)
    options = dict(num_frames=3, stride=4, batch_size=1)
    every = [
        list(loaders.evaluation_batches(path, "validation", **options, selection=selection))
        for selection in ("first", datasets.validation_selection(config))
    ]
    assert len(every[1]) == datasets.num_videos(config, path, "validation") < len(every[0]) == 8
    # The touch shows in the third of three frames.
    assert all((batch["collision_frame"] == 2).any() for batch in every[1])


def test_data_without_the_split_or_without_collisions_are_refused(data_dir, tmp_path):
    config = get_config()
    config.data.data_dir, config.data.valid_split = str(data_dir), "test"
    with pytest.raises(
        ValueError, match=r"^config\.data\.valid_split: .* no split 'test', there are train, valid"
    ):
        datasets.prepare(config)
    towers = build.make_config(
        "simulated_block_towers", "quickstart", **TOWERS | dict(num_train=1, num_test=1)
    )
    build.build("simulated_block_towers", towers, tmp_path, jobs=1, progress=False)
    config.data.name, config.data.config = "simulated_block_towers", towers.name
    config.data.data_dir = str(tmp_path)
    datasets.prepare(config)
    config.data.clips = "collision"
    with pytest.raises(
        ValueError, match="too few for clips of 3 frames with a collision from their third frame"
    ):
        datasets.prepare(config)
