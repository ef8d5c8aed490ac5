"""Extraction, training and evaluation as people run them, on eight simulated videos."""

import json
import signal

import numpy as np
import pytest

from data_pipelines import build
from experiments.configs import clevrer_vqa
from experiments.runs import trained
from experiments.vqa import answering, extraction, feature_files
from tests.experiments.test_vqa_scores import check_submission
from tests.experiments.tiny import DATA_NAME
from tests.experiments.untrained import write_run

OPTIONS = dict(num_train=5, num_validation=3)
QUESTIONS = "quickstart-" + "-".join(f"{name}_{value}" for name, value in OPTIONS.items())


@pytest.fixture
def data(data_dir):
    """Where videos and questions lie."""
    own = build.make_config("simulated_clevrer_qa", "quickstart", **OPTIONS)
    assert own.name == QUESTIONS
    build.build("simulated_clevrer_qa", own, data_dir, jobs=1, progress=False)
    return data_dir


def test_extract_killed_and_again_then_train_and_evaluate(start_program, run_program, data, tmp_path):
    run, features, row = (tmp_path / name for name in ("run", "features", "row"))
    write_run(run, data)
    extract = ("-m", "experiments.extract_latents", f"--run={run}", f"--output={features}", "--shard_size=1")
    moment = ("experiments.vqa.feature_files:write_shard", "3", "", "SIGKILL", "process")
    process = start_program("-m", "tests.stopped", *moment, *extract[1:])
    assert process.wait() == -signal.SIGKILL, process.output.read_text()
    made = {path.name: path.read_bytes() for path in features.glob("*.safetensors")}
    assert len(made) == 3
    code, output = run_program(*extract)
    assert code == 0, output
    assert f"{features}: features of 16 train, 8 validation videos of simulated_clevrer/{DATA_NAME}" in output
    found, undisturbed = trained.open_trained(run=str(run)), tmp_path / "undisturbed"
    extraction.extract(found, found.data, undisturbed, shard_size=1)
    wanted = {path.name: path.read_bytes() for path in undisturbed.glob("*.safetensors")}
    assert len(wanted) == 24 and made.items() <= wanted.items()
    assert {path.name: path.read_bytes() for path in features.glob("*.safetensors")} == wanted

    code, output = run_program(
        "-m",
        "experiments.clevrer_vqa",
        f"--config.data_dir={data}",
        f"--config.questions=simulated_clevrer_qa/{QUESTIONS}",
        f"--config.features_dir={features}",
        "--config.num_steps=2",
        "--config.log_every=1",
        "--config.batch_size=8",
        "--config.model.num_layers=1",
        f"--workdir={row}",
    )
    assert code == 0, output
    record = json.loads((row / "metrics.json").read_text())
    assert record["simulated"] and "*simulated*" in output
    assert (record["num_train_videos"], record["num_videos"], record["features_of"]) == (5, 3, str(run))
    assert record["extracted"]["identity"]["model"] == "ODDN"
    descriptive = record["scores"]["descriptive"]
    assert set(record["references"]) == {"blind", "majority", "executor"}
    for scores in record["references"].values():
        assert scores["descriptive"]["n"] == descriptive["n"] > 20
    executor = record["references"]["executor"]
    assert all(entry["per_question"] == 1 for entry in executor.values())
    entries = json.loads((row / "submission.json").read_text())
    check_submission(entries)
    assert [entry["scene_index"] for entry in entries] == [500_000, 500_001, 500_002]
    for folder in (row, row / "blind"):
        logged = list(map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()))
        assert [(entry["step"], entry["split"]) for entry in logged] == [
            (1, "train"),
            (2, "train"),
            (2, "valid"),
        ]
        assert all(np.isfinite(entry["loss"]) for entry in logged)
    assert (row / "figures" / "learning.png").stat().st_size > 1000


def test_from_python_with_true_features(data, tmp_path):
    config = clevrer_vqa.get_config("quickstart,truth")
    config.data_dir, config.videos = str(data), f"simulated_clevrer/{DATA_NAME}"
    config.questions, config.references = f"simulated_clevrer_qa/{QUESTIONS}", ("majority",)
    config.model.num_layers, config.num_steps, config.batch_size = 1, 1, 8
    record = answering.train_and_evaluate(config, tmp_path / "row")
    assert record["features"] == "truth" and record["features_of"] is None
    assert set(record["references"]) == {"majority"}
    assert "truth" in answering.table(record)
    # Nothing is left to train: what is scored beside it and what is submitted may change.
    config.references, config.submission_split = (), "train"
    again = answering.train_and_evaluate(config, tmp_path / "row")
    assert again["scores"] == record["scores"] and again["references"] == {}
    entries = json.loads((tmp_path / "row" / "submission.json").read_text())
    assert [entry["scene_index"] for entry in entries] == list(range(5))


def test_with_rollouts(data, tmp_path):
    run, row = tmp_path / "run", tmp_path / "row"
    write_run(run, data)
    config = clevrer_vqa.get_config("quickstart")
    config.data_dir, config.videos = str(data), f"simulated_clevrer/{DATA_NAME}"
    config.questions, config.references = f"simulated_clevrer_qa/{QUESTIONS}", ()
    config.features_of, config.rollout_frames = str(run), 3
    config.model.num_layers, config.num_steps, config.batch_size = 1, 1, 8
    record = answering.train_and_evaluate(config, row)
    assert record["rollout_frames"] == 3 and record["scores"]["descriptive"]["n"] > 20
    assert not (row / "reasoner.safetensors").exists()  # `ask` reads observed frames alone
    config.features_dir = str(feature_files.default_folder(str(data), str(run), config.videos))
    config.features_of = "quickstart"
    with pytest.raises(
        ValueError, match=r"config.features_of=quickstart has other parameters: name the model"
    ):
        answering.train_and_evaluate(config, tmp_path / "other")


def test_a_model_that_is_not_there(run_program, data, tmp_path):
    code, output = run_program(
        "-m",
        "experiments.clevrer_vqa",
        f"--config.data_dir={data}",
        f"--config.questions=simulated_clevrer_qa/{QUESTIONS}",
        "--config.features_of=nowhere",
        f"--workdir={tmp_path / 'row'}",
    )
    assert code == 2 and output.count("\n") == 1
    assert output.startswith(
        "clevrer_vqa: config.features_of=nowhere is no run folder, no exported file and no"
    )
    assert not (tmp_path / "row").exists()


@pytest.mark.parametrize(
    "variant, form, layers, features",
    [
        ("quickstart", "absolute", 4, "both"),
        ("clevrer", "absolute", 12, "both"),
        ("official", "relative", 28, "both"),
        ("clevrer,latents", "absolute", 12, "latents"),
        ("official,hidden_slots,dynamics", "relative", 28, "dynamics"),
        ("simulated,truth", "absolute", 12, "truth"),
        ("simulated,truth,small", "absolute", 4, "truth"),
        ("quickstart,blind", "absolute", 4, "blind"),
    ],
)
def test_variants(variant, form, layers, features):
    config = clevrer_vqa.get_config(variant)
    assert (config.model.form, config.model.num_layers, config.features) == (form, layers, features)
    assert config.model.predict_hidden_slots == ("hidden_slots" in variant)
    if variant == "simulated,truth":
        assert config.videos == "simulated_clevrer_scenes/clevrer"  # there is nothing to look at
    assert config.videos.startswith("simulated") == ("quickstart" in variant or "simulated" in variant)
    with pytest.raises(ValueError, match="unknown variant 'large'"):
        clevrer_vqa.get_config(f"{variant},large")
