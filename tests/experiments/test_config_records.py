"""config.json edited by hand or of another version, and options of any origin: as meant, or refused by name."""

import copy
import dataclasses
import json

import jax
import pytest

from experiments import config as configs
from experiments.config import DataConfig, TrainConfig, VQAConfig
from experiments.runs import run_folder
from experiments.runs.logs import read_rows
from experiments.seeds import main as train_seeds
from experiments.vqa import config as vqa_config
from experiments.vqa import feature_files
from tests.experiments.tiny import get_config

LISTS = {"curriculum": [[1.0, 3]]}


def write(workdir, values):
    workdir.mkdir(exist_ok=True)
    text = values if isinstance(values, str) else json.dumps(values)
    (workdir / "config.json").write_text(text)
    return workdir


def changed(path, value, values=None):
    """The config of a small run with another value, or with none (...), of an option with dots in its name."""
    values = configs.to_json(get_config()) if values is None else copy.deepcopy(values)
    *parts, last = path.split(".")
    part = values
    for name in parts:
        part = part[name]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    return values


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("num_steps", "100", "config.num_steps='100' must be an integer, it is a str"),
        ("num_steps", 100.0, "config.num_steps=100.0 must be an integer"),
        ("num_steps", True, "config.num_steps=True must be an integer"),
        ("num_steps", 10**30, "config.num_steps=1000000000000000000000000000000 must lie in"),
        ("learning_rate", "1e-3", "config.learning_rate='1e-3' must be a number"),
        ("learning_rate", None, "config.learning_rate=None must be a number"),
        ("fresh", "decoder", "config.fresh='decoder' must be a tuple"),
        ("curriculum", [[1.0, {}]], "config.curriculum holds {}, a dict"),
        ("init_from", 3, "config.init_from=3 must be a text"),
        ("workdir", ["runs"], "config.workdir=('runs',) must be a text"),
        ("system", 3, "config.system=3 must be a text"),
        ("system", None, "config.system=None must be a text"),
        ("system", "MONet", "config.model.attend_current is not an option of this version"),
        ("system", "ODDM", "model 'ODDM' is not one of"),
        ("model", [], "config.model holds []: its options by name, {...}, are wanted"),
        ("model", None, "config.model holds None: its options by name, {...}, are wanted"),
        ("model", ..., "config.model is missing"),
        ("model.num_slots", "3", "config.model.num_slots='3' must be an integer"),
        ("model.num_slots", 10**9, "config.model.num_slots=1000000000 must be at most 1000"),
        ("model.num_slots", ..., "config.model.num_slots is missing"),
        ("model.num_slotz", 3, "config.model.num_slotz is not an option of this version"),
        ("model.features", "resnet", "config.model.features='resnet' is not one of"),
        ("data", "clevrer/64x64", "config.data holds 'clevrer/64x64': its options by name"),
        ("data.stride", 4.5, "config.data.stride=4.5 must be an integer"),
        ("data.stride", ..., "config.data.stride is missing"),
        ("data.colour", "blue", "config.data.colour is not an option of this version"),
        ("seed", ..., "config.seed is missing"),
    ],
)
@pytest.mark.usefixtures("as_installed")
def test_an_option_of_another_type_or_none_is_named(tmp_path, path, value, message):
    with pytest.raises(ValueError) as caught:
        run_folder.load_config(write(tmp_path / "run", changed(path, value)))
    assert str(caught.value).startswith(f"{tmp_path / 'run' / 'config.json'} cannot be read: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "it is nested more than 100 deep"),
        ("[1, 2]", "it holds a list, not an object"),
        ("3", "it holds a int, not an object"),
        ('{"seed": 1, "seed": 2}', "'seed' stands there twice"),
        ('{"seed": NaN}', "NaN is no number"),
        ('{"learning_rate": 1e999}', "1e999 is too large a number"),
        ('{"seed": ' + "9" * 5000 + "}", "digits"),
        ("{}", "config.model is missing"),
        ("", "Expecting value"),
    ],
)
@pytest.mark.parametrize("from_json", [configs.from_json, vqa_config.from_json])
def test_what_is_no_record_of_options_is_refused(tmp_path, text, message, from_json):
    with pytest.raises(ValueError) as caught:
        run_folder.load_config(write(tmp_path / "run", text), from_json)
    assert message in str(caught.value) and "config.json cannot be read" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_older_runs_do_not_have_is_what_they_did(tmp_path):
    values = configs.to_json(get_config())
    older = copy.deepcopy(values)
    now = configs.flatten(get_config())
    later = {path: value for path, value in configs.LATER_OPTIONS.items() if path in now}
    for path in (*later, "figures_every", "data.valid_split"):
        older = changed(path, ..., older)
    read = run_folder.load_config(write(tmp_path / "run", older))
    assert configs.flatten(read) == now | later | {
        "figures_every": 10_000,
        "data.valid_split": "validation",
    }


def test_what_older_reasoners_do_not_have_is_what_they_did(tmp_path):
    older = configs.to_json(VQAConfig())
    names = "rollout_frames", "choices_per_question", "optimizer", "taught_by"
    assert {name: older.pop(name) for name in names} == dict(zip(names, (0, 0, "adam", "")))
    read = run_folder.load_config(write(tmp_path / "run", older), vqa_config.from_json)
    assert read == VQAConfig()
    # That of the version that had neither: its checkpoints go on.
    assert run_folder.fingerprint(read, vqa_config.RESUMABLE_FIELDS).startswith("0f0a2fbc8646dd6d")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("batch_size", "6", "config.batch_size='6' must be an integer"),
        ("references", ["blind", {}], "config.references holds {}, a dict"),
        ("references", "blind", "config.references='blind' must be a tuple"),
        ("model", ..., "config.model is missing"),
        ("model", None, "config.model holds None"),
        ("model.dropout", "0", "config.model.dropout='0' must be a number"),
        ("model.num_layers", 10**9, "config.model.num_layers=1000000000 must be at most 1000"),
        ("videos", None, "config.videos=None must be a text"),
        ("questionz", "a", "config.questionz is not an option of this version"),
    ],
)
@pytest.mark.usefixtures("as_installed")
def test_the_options_of_a_reasoner_likewise(tmp_path, path, value, message):
    values = dataclasses.asdict(VQAConfig())
    assert run_folder.load_config(write(tmp_path / "good", values), vqa_config.from_json) == VQAConfig()
    with pytest.raises(ValueError) as caught:
        run_folder.load_config(write(tmp_path / "run", changed(path, value, values)), vqa_config.from_json)
    assert f"cannot be read: {message}" in str(caught.value) and "\n" not in str(caught.value)


NUMBERS = [
    (kind, name)
    for kind in (TrainConfig, VQAConfig)
    for name, value in configs.flatten(kind()).items()
    if type(value) in (int, float)
]


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 10**20, "1", None], ids=str)
def test_no_number_of_any_option_may_be_infinite_or_no_number(value):
    """As a config file in Python, or the command line, may set it."""
    for kind, path in NUMBERS:
        config = kind()
        *parts, last = path.split(".")
        part = config
        for name in parts:
            part = getattr(part, name)
        setattr(part, last, value)
        with pytest.raises(ValueError, match=rf"^config\.{path}( is |=)[^\n]* must ") as caught:
            configs.check(config, num_devices=1) if kind is TrainConfig else vqa_config.check(config)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "seed", [-1, 2**32, 10**20, 10**5000, 1.0, "1", True, None], ids=lambda x: type(x).__name__
)
def test_a_seed_out_of_range_is_the_first_thing_said(seed):
    for config, check in (
        (TrainConfig(seed=seed, num_steps=0), lambda config: configs.check(config, 1)),
        (VQAConfig(seed=seed, num_steps=0), vqa_config.check),
    ):
        with pytest.raises(ValueError, match=r"^config\.seed is [^\n]*: a seed must be .* 0 to 4294967295$"):
            check(config)


def test_the_last_of_several_seeds_is_in_range_too(tmp_path):
    config = get_config()
    config.seed = 2**32 - 2
    with pytest.raises(ValueError, match=r"the last seed is 4294967296: a seed must be an integer from 0 to"):
        train_seeds(config, tmp_path / "runs", 3)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_steps": 2**31}, "config.num_steps is 2147483648: it must be at most 2147483647"),
        ({"data": DataConfig(stride=0)}, "config.data.stride is 0: it must be above 0"),
        ({"data": DataConfig(num_threads=-1)}, "config.data.num_threads is -1: it must be above 0"),
        (
            {"data": DataConfig(num_threads=10**6)},
            "config.data.num_threads is 1000000: it must be at most 1000",
        ),
        ({"curriculum": ((1.0, 1e9),)}, r"config.curriculum .*: 1000000000.0 is no number of frames"),
        ({"data": "clevrer"}, "config.data='clevrer' must be a DataConfig"),
        ({"curriculum": (("a", 3),)}, r"config.curriculum .* is no tuple of"),
        ({"model": VQAConfig()}, "config.model is a VQAConfig, ODDN wants a ODDNConfig"),
        ({"model": None}, "config.model is a NoneType, ODDN wants a ODDNConfig"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_done(changes, message):
    with pytest.raises(ValueError, match=message):
        configs.check(TrainConfig(**changes), num_devices=1)


def test_float64_needs_its_switch():
    config = TrainConfig()
    config.model.compute_dtype = "float64"
    with pytest.raises(
        ValueError, match="compute_dtype float64 needs the environment variable JAX_ENABLE_X64=1"
    ):
        configs.check(config, num_devices=1)
    with jax.enable_x64(True):
        configs.check(config, num_devices=1)


def test_lines_of_a_log_that_cannot_be_read_are_left_out(tmp_path):
    good = [{"step": 1, "split": "train", "loss": 2.5}, {"step": 2, "split": "valid", "loss": 1.5}]
    lines = [json.dumps(good[0]), "[" * 100_000, "3", '{"step": "2", "split": "valid"}', '{"step": 2}', ""]
    lines += ['{"step": 3, "split": "valid", "loss": "low"}', json.dumps(good[1]), '{"step": 3, "spl']
    path = tmp_path / "metrics.jsonl"
    path.write_bytes("\n".join(lines).encode() + b"\xff")
    assert read_rows(path) == good
    assert read_rows(tmp_path / "nothing.jsonl") == []


@pytest.mark.parametrize(
    "manifest",
    [
        "[" * 100_000,
        "[]",
        '{"format": 1, "identity": {"shard_size": "2"}, "splits": {"train": 5}}',
        '{"format": 1, "identity": {"shard_size": 0}, "splits": {"train": 5}}',
        '{"format": 1, "identity": {"shard_size": 2}, "splits": {"train": 5.5}}',
        '{"format": 1, "identity": {"shard_size": 2}, "splits": [5]}',
        '{"format": 1, "identity": [], "splits": {}}',
        '{"format": 1}',
    ],
    ids=range(8),
)
def test_features_of_which_nothing_can_be_known_are_not_read(tmp_path, manifest):
    (tmp_path / feature_files.MANIFEST).write_text(
        manifest.replace('"format": 1', f'"format": {feature_files.FORMAT}')
    )
    with pytest.raises(ValueError, match=r"cannot be read .*: remove the folder and extract again") as caught:
        feature_files.read_split(tmp_path, "train")
    assert "\n" not in str(caught.value)
