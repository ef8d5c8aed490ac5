"""Every option is checked, read by something, and survives a file; every variant gives a model that trains."""

import ast
import dataclasses
import itertools
import json
import pathlib

import jax
import jax.numpy as jnp
import pytest

from data_pipelines import build
from experiments import config as configs
from experiments.config import DataConfig, TrainConfig
from experiments.configs import block_towers, clevrer, clevrer_collision
from experiments.training import steps
from oddn_jax.config import ODDNConfig

ROOT = pathlib.Path(__file__).parent.parent.parent


def attributes_read(files, skipped_functions=()):
    """Names of all attributes that the sources read, outside of the functions named."""
    names = set()
    for file in files:
        pending = [ast.parse(file.read_text())]
        while pending:
            node = pending.pop()
            if isinstance(node, ast.FunctionDef) and node.name in skipped_functions:
                continue
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                names.add(node.attr)
            pending.extend(ast.iter_child_nodes(node))
    return names


def unread(record, names):
    return [entry.name for entry in dataclasses.fields(record) if entry.name not in names]


def test_no_option_is_read_by_nothing():
    programs = attributes_read((ROOT / "experiments").rglob("*.py"), ("check", "_check_curriculum"))
    library = attributes_read((ROOT / "oddn_jax").rglob("*.py"), ("validate",))
    assert unread(TrainConfig, programs) == []
    assert unread(DataConfig, programs) == []
    assert unread(ODDNConfig, programs | library) == []
    added = dataclasses.make_dataclass("Added", [("an_option_that_nothing_reads", int)])
    assert unread(added, programs) == ["an_option_that_nothing_reads"]


VARIANTS = [
    *clevrer.PRESETS,
    *clevrer.CHANGES,
    "prediction,simulated",
    "reasoning,no_relation,carry",
    "quickstart," + ",".join(clevrer.CHANGES),
]
# The other files share the model, which takes seconds to trace, with clevrer.py.
TRACED = [(clevrer, variant) for variant in VARIANTS]
TRACED += [(clevrer_collision, "quickstart"), (block_towers, "quickstart")]


def short_name(value):
    return value if isinstance(value, str) else value.__name__.rpartition(".")[2]


@pytest.mark.parametrize("file, variant", TRACED, ids=short_name)
def test_every_variant_trains(file, variant):
    config = file.get_config(variant)
    configs.check(config, num_devices=1)
    size = (config.model.image_height, config.model.image_width, 3)
    made = build.make_config("simulated_clevrer", config.data.config) if variant == "clevrer" else None
    assert made is None or (made.height, made.width) == size[:2]
    assert made or config.data.config in ("quickstart", f"{size[0]}x{size[1]}")

    def gradient(video, example_id):
        params = steps.initial_state(config, steps.make_optimizer(config)).params

        def loss(params):
            return steps.compute_losses(config, params, video, jax.random.key(0), example_id)["loss"]

        return params, jax.grad(loss)(params)

    frames = config.curriculum[0][1]
    video, example_id = jnp.zeros((1, frames, *size)), jnp.zeros((1,), jnp.uint32)
    params, gradients = jax.eval_shape(gradient, video, example_id)
    assert jax.tree.map(lambda leaf: leaf.shape, params) == jax.tree.map(lambda leaf: leaf.shape, gradients)


def test_changes_change_the_model():
    before = configs.flatten(clevrer.get_config("prediction"))
    for change in clevrer.CHANGES:
        after = configs.flatten(clevrer.get_config(change))
        different = {name for name in after if after[name] != before[name]}
        assert different == {"workdir", *(f"model.{name}" for name in clevrer.CHANGES[change])}


TOWER_VARIANTS = [variant for variant in VARIANTS if not variant.startswith(("reasoning", "clevrer"))]


def test_variants_have_their_own_folders():
    made = [(file, variant) for file in (clevrer, clevrer_collision) for variant in VARIANTS]
    made += [(block_towers, variant) for variant in TOWER_VARIANTS]
    folders = [file.get_config(variant).workdir for file, variant in made]
    assert len(set(folders)) == len(made)


@pytest.mark.parametrize("variant", VARIANTS)
def test_fine_tuning_continues_the_run_of_its_variant(variant):
    config, before = clevrer_collision.get_config(variant), clevrer.get_config(variant)
    configs.check(config, num_devices=1)
    assert config.init_from == before.workdir
    changed = {"workdir", "init_from", "data.clips", "num_steps", "curriculum", "resolutions"}
    one, other = configs.flatten(config), configs.flatten(before)
    assert {name for name in one if one[name] != other[name]} | {"curriculum", "resolutions"} == changed
    assert config.data.clips == "collision"
    assert {configs.clip_length(config, step) for step in range(0, config.num_steps, 50)} == {
        configs.longest_clip(before)
    }
    assert clevrer_collision.get_config("prediction").num_steps == 60_000


@pytest.mark.parametrize("variant", TOWER_VARIANTS)
def test_towers_are_data_sets_that_can_be_built(variant):
    config, of_clevrer = block_towers.get_config(variant), clevrer.get_config(variant)
    configs.check(config, num_devices=1)
    assert config.model == of_clevrer.model
    stored = build.make_config(config.data.name, config.data.config)
    assert (stored.height, stored.width) == (config.model.image_height, config.model.image_width)
    assert config.data.stride % stored.source_stride == 0
    assert config.data.valid_split == "test"
    assert config.data.name.startswith("simulated") == of_clevrer.data.name.startswith("simulated")


def test_towers_have_no_reasoning_and_none_of_clevrers_scenes():
    with pytest.raises(ValueError, match="square frames"):
        block_towers.get_config("reasoning")
    with pytest.raises(ValueError, match="for CLEVRER's scenes"):
        block_towers.get_config("clevrer")


def test_unknown_variant():
    with pytest.raises(ValueError, match=r"^unknown variant 'no_realtion': .*no_relation"):
        clevrer.get_config("prediction,no_realtion")


def test_json_round_trip():
    config = clevrer.get_config("reasoning,long_range")
    config.init_from = "runs/prediction"
    again = configs.from_json(json.loads(json.dumps(configs.to_json(config))))
    assert again == config
    assert isinstance(again.curriculum[0], tuple)
    values = configs.to_json(config)
    values["data"]["colour"] = "blue"
    with pytest.raises(ValueError, match=r"config\.data\.colour"):
        configs.from_json(values)


def test_clips_grow_with_the_curriculum():
    config = TrainConfig(num_steps=100)
    lengths = [
        (frames, len(list(group)))
        for frames, group in itertools.groupby(configs.clip_length(config, s) for s in range(100))
    ]
    assert lengths == [(3, 10), (4, 10), (5, 10), (6, 15), (8, 55)]
    assert configs.longest_clip(config) == 8
    assert configs.clip_length(config, 100) == 8


WRONG = {
    "num_steps": 0,
    "batch_size": 7,  # four devices
    "learning_rate": -1.0,
    "gradient_clip": float("nan"),
    "num_valid_clips": 13,
    "schedule": "step",
    "warmup_steps": 200_000,
    "log_every": 0,
    "figures_every": -1,
    "curriculum": (8,),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_are_named(name):
    config = TrainConfig()
    configs.check(config, num_devices=4)
    setattr(config, name, WRONG[name])
    with pytest.raises(ValueError, match=rf"^config\.{name}( |=)[^\n]*$"):
        configs.check(config, num_devices=4)


@pytest.mark.parametrize(
    "pairs", [(), ((0.5, 3),), ((0.6, 3), (0.5, 4), (1.0, 8)), ((1.0, 2),), ((0.0, 3), (1.0, 4))]
)
def test_wrong_curricula_are_refused(pairs):
    with pytest.raises(ValueError, match=r"^config\.curriculum [^\n]*$"):
        configs.check(TrainConfig(curriculum=pairs), num_devices=1)


@pytest.mark.parametrize(
    "pairs",
    [(), ((1.0, 2),), ((0.5, 0), (1.0, 1)), ((0.5, 2.0), (1.0, 1)), ((0.5, 3), (1.0, 1)), ((0.5, 2),)],
)
def test_wrong_resolutions_are_refused(pairs):
    with pytest.raises(ValueError, match=r"^config\.resolutions [^\n]*$"):
        configs.check(TrainConfig(resolutions=pairs), num_devices=1)


def test_the_picture_gets_finer_with_the_resolutions():
    config = TrainConfig(num_steps=10, resolutions=((0.2, 4), (0.5, 2), (1.0, 1)))
    configs.check(config, num_devices=1)
    factors = [configs.coarseness(config, step) for step in range(10)]
    assert factors == [4, 4, 2, 2, 2, 1, 1, 1, 1, 1]


def test_wrong_options_of_parts_are_named():
    with pytest.raises(ValueError, match=r"^config\.data\.clips"):
        configs.check(TrainConfig(data=DataConfig(clips="all")), num_devices=1)
    config = TrainConfig()
    config.model.features = "resnet"
    with pytest.raises(ValueError, match=r"^config\.model\.features"):
        configs.check(config, num_devices=1)
