"""What programs ask of a model: the same answers from every built-in one, and the nouns written on top of them."""

import pathlib
from functools import partial

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest

import oddn_jax
from oddn_jax.baselines import IODINELinearConfig, MONetConfig, ProvideConfig, SRVPConfig

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
NUM_CLIPS, NUM_FRAMES, NUM_PREDICTED = 3, 3, 2
BACKBONE = dict(
    image_height=8,
    image_width=8,
    num_slots=3,
    latent_size=4,
    num_refinement_steps=2,
    hidden_size=4,
    convolution_channels=2,
    features="none",
    ffn_hidden_size=4,
    pair_embedding_size=4,
    pair_attention_size=4,
    pair_effect_size=4,
)
TINY = {
    "ODDN": oddn_jax.ODDNConfig(**BACKBONE),
    "IODINE": oddn_jax.ODDNConfig(**BACKBONE),
    "IODINELinear": IODINELinearConfig(**BACKBONE, predictor_hidden_size=4, pyramid=3, background_slot=1.0),
    "PROVIDE": ProvideConfig(**BACKBONE, unroll=1, pyramid=3, background_slot=1.0),
    "SRVP": SRVPConfig(
        image_height=16,
        image_width=16,
        coder="dcgan",
        coder_channels=2,
        code_size=4,
        state_size=3,
        innovation_size=3,
        inference_size=4,
        num_inference_layers=2,
        dynamics_hidden_size=4,
        num_dynamics_layers=2,
    ),
    "MONet": MONetConfig(
        image_height=8,
        image_width=8,
        num_slots=3,
        latent_size=4,
        attention_channels=2,
        num_attention_blocks=3,
        attention_hidden_size=4,
        component_channels=2,
        component_hidden_size=4,
    ),
}
# What each has besides a reconstruction.
HAS = {
    "ODDN": {"slots", "dynamics", "prediction"},
    "IODINE": {"slots"},
    "IODINELinear": {"slots", "prediction"},
    "PROVIDE": {"slots", "prediction"},
    "SRVP": {"prediction"},
    "MONet": {"slots"},
}


@partial(jax.jit, static_argnums=0)
def look(model, params, video, keys):
    return model.look(params, video, keys, num_predicted=NUM_PREDICTED)


@partial(jax.jit, static_argnums=0)
def train(model, params, video, keys):
    """What the first step of Adam adds, the metrics, and the collections; compiled whole, which is fastest."""

    def loss(params):
        metrics, collections = model.loss(params, video, keys)
        return metrics["loss"], (metrics, collections)

    gradients, (metrics, collections) = jax.grad(loss, has_aux=True)(params)
    optimizer = optax.adam(0.1)
    return optimizer.update(gradients, optimizer.init(params))[0], metrics, collections


@pytest.fixture(scope="module", params=TINY)
def case(request):
    """(name, model, params, video, keys)"""
    config = TINY[request.param]
    model, random = oddn_jax.MODELS[request.param](config), np.random.default_rng(0)

    def draw(path, leaf):
        name = jax.tree_util.keystr(path)
        low, high = (0.5, 1.5) if "'var'" in name or "nll_weight" in name else (-0.3, 0.3)
        return random.uniform(low, high, leaf.shape).astype(leaf.dtype)

    shapes = jax.eval_shape(model.initialize, jax.random.key(0))
    params = jax.tree_util.tree_map_with_path(draw, shapes)
    size = (NUM_CLIPS, NUM_FRAMES, config.image_height, config.image_width, 3)
    video = random.random(size, np.float32)
    return request.param, model, params, video, jax.random.split(jax.random.key(1), NUM_CLIPS)


def test_every_built_in_model_is_asked():
    assert TINY.keys() == HAS.keys() == oddn_jax.MODELS.keys()


def test_a_loss_trains_the_parameters_and_carries_the_collections(case):
    name, model, params, video, keys = case
    updates, metrics, collections = jax.device_get(train(model, params, video, keys))
    assert all(np.isfinite(value) for value in metrics.values())
    expected = {"loss", "mse", "mse_copy_last"}
    expected |= {"slot_usage", "mask_entropy"} if "slots" in HAS[name] else set()
    assert expected <= metrics.keys()
    assert collections.keys() == set(model.collections)
    for part, update in updates.items():
        moved = [np.abs(leaf).max() for leaf in jax.tree.leaves(update)]
        assert np.isfinite(moved).all()
        assert max(moved) == 0 if part in collections else max(moved) > 0.01
    for part in collections:
        assert jax.tree.structure(collections[part]) == jax.tree.structure(params[part])
        before, after = (jax.tree.leaves(jax.device_get(tree[part])) for tree in (params, collections))
        assert any((x != y).any() for x, y in zip(before, after))


def test_what_a_clip_gives_hangs_neither_on_its_place_nor_on_its_neighbours(case):
    _, model, params, video, keys = case
    order = np.array([2, 0, 1])
    (_, metrics, _), (_, again, _) = (train(model, params, video[i], keys[i]) for i in (np.arange(3), order))
    for name, value in metrics.items():
        np.testing.assert_allclose(again[name], value, rtol=1e-4, atol=1e-6)
    neighbours = np.concatenate([video[:1], np.full_like(video[1:], 0.5)])
    seen, permuted, alone = jax.device_get(
        [
            look(model, params, clips, its)
            for clips, its in ((video, keys), (video[order], keys[order]), (neighbours, keys))
        ]
    )
    jax.tree.map(lambda x, y: np.testing.assert_allclose(y, x[order], rtol=1e-4, atol=1e-5), seen, permuted)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(y[0], x[0], rtol=1e-4, atol=1e-5), seen, alone)
    changed = jax.tree.map(lambda x, y: np.abs(x[1] - y[1]).max(), seen, alone)
    assert max(jax.tree.leaves(changed)) > 1e-4


def test_what_is_seen_has_its_shape_and_nothing_is_made_up(case):
    name, model, params, video, keys = case
    seen, config, has = look(model, params, video, keys), model.config, HAS[name]
    size, k = (config.image_height, config.image_width), getattr(config, "num_slots", None)
    b, t, s = NUM_CLIPS, NUM_FRAMES, NUM_PREDICTED
    expected = {
        "reconstruction": (b, t, *size, 3),
        "slot_rgb": (b, t, k, *size, 3) if "slots" in has else None,
        "slot_masks": (b, t, k, *size, 1) if "slots" in has else None,
        "latents": (b, t, k, config.latent_size) if "slots" in has else None,
        "dynamics": (b, t - 1, k, 4) if "dynamics" in has else None,
        "predicted": (b, s, *size, 3) if "prediction" in has else None,
        "predicted_masks": (b, s, k, *size, 1) if {"slots", "prediction"} <= has else None,
    }
    assert {key: x if x is None else x.shape for key, x in seen._asdict().items()} == expected
    if "slots" in has:
        np.testing.assert_allclose(seen.slot_masks.sum(2), 1, rtol=1e-5)
        mixed = (seen.slot_masks * seen.slot_rgb).sum(2)
        np.testing.assert_allclose(mixed, seen.reconstruction, atol=1e-5)
    if "prediction" in has:
        unseen = np.concatenate([video[:, :2], np.full_like(video[:, 2:], 0.1)], 1)
        later = look(model, params, unseen, keys).predicted
        np.testing.assert_allclose(later, seen.predicted, rtol=1e-4, atol=1e-5)


def test_an_exported_model_sees_the_same(case, tmp_path):
    name, model, params, video, keys = case
    path = tmp_path / "model.safetensors"
    oddn_jax.save(path, model.config, params, model=type(model), provenance={"step": 1})
    loaded, arrays = oddn_jax.load(path)
    assert type(loaded) is oddn_jax.MODELS[name] and loaded == model
    jax.tree.map(np.testing.assert_array_equal, arrays, params)
    ours, theirs = look(model, params, video, keys), look(loaded, arrays, video, keys)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.slow
def test_functions_of_a_model_see_the_same(case, monkeypatch):
    """Of the models whose functions see a whole clip; those of the others are in test_consumers."""
    name, model, params, *_ = case
    if name in ("ODDN", "IODINE", "IODINELinear"):
        return
    # The checks of annotations cannot compare symbolic axes.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    functions = oddn_jax.serialize_functions(model, params)
    assert functions.keys() == {"infer", "predict"} if "prediction" in HAS[name] else {"infer"}
    size = (2, 8, model.config.image_height, model.config.image_width, 3)
    video = jnp.asarray(np.random.default_rng(2).random(size, np.float32))
    keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(5)))(np.arange(2))
    for function, content in functions.items():
        given = video if function == "infer" else video[:, :2]
        exported = jax.export.deserialize(bytearray(content))
        assert str(exported.in_avals[0].shape[:2]) == f"(b, {given.shape[1]})"
        num_predicted = 0 if function == "infer" else model.num_rollout_steps
        seen = jax.jit(partial(model.look, num_predicted=num_predicted))(params, given, keys)
        expected = {key: value for key, value in seen._asdict().items() if value is not None}
        expected = expected if function == "infer" else seen.predicted
        found = exported.call(given, np.uint32(5))
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), found, expected)
