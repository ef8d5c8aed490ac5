"""Serialised functions: a trained model as StableHLO, which runs with JAX alone and none of this code.

One file a function, read with `jax.export.deserialize` (which needs the package flatbuffers, as writing does). The
parameters are constants in it; batch size b and number of frames t are free, any t for `infer`, two or more for the
others, and for `infer` of a model with `num_tracking_steps`. Inputs and outputs are arrays and plain dictionaries, with
the names of our records. Of ODDN, and of IODINE and IODINE linear as far as they have it:

    infer(video f32[b t h w 3], seed u32[])     {"latents", "posterior", "decoded", "nll", "kl", "trajectory"}
    distill(latents f32[b t k l])               {"dynamics", "match_attention"}
    rollout(latents f32[b t k l])               {"latents", "dynamics", "decoded", "pair_attention", "match_attention"}

`infer` takes a seed in place of a key, which has no portable type, and its latents are the posterior's mean: the same
numbers as `model.apply(..., video, jax.random.key(seed), deterministic=True, method="infer")`. `rollout` takes these
latents, of which it uses the last two frames, and predicts `config.num_rollout_steps` frames.

Of all other models, for t = `num_context_frames + num_rollout_steps`:

    infer(video f32[b t h w 3], seed u32[])                         what it has of `Seen`
    predict(context f32[b num_context_frames h w 3], seed u32[])    f32[b num_rollout_steps h w 3], where it can
"""

import dataclasses
import importlib.util
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import export

from oddn_jax.backbone import Backbone
from oddn_jax.fields import LARGEST_COUNT
from oddn_jax.video_model import VideoModel

PLATFORMS = ("cpu", "cuda")
SEED = jax.ShapeDtypeStruct((), jnp.uint32)


def serialize_functions(model: VideoModel, params: Mapping[str, Any]) -> dict[str, bytes]:
    """Serialises what a trained model can do, by name; the module's description says what that is.

    Written by one version of JAX, a file is read by that and later ones, for as long as JAX promises.

    Raises:
      ModuleNotFoundError: the package flatbuffers is not installed.
    """
    if importlib.util.find_spec("flatbuffers") is None:
        raise ModuleNotFoundError(
            'serialised functions need the package flatbuffers: pip install "oddn_jax[export]"'
        )
    # The automatic choices look at the machine that writes. The CPU needs loops unrolled, an accelerator bears it, and
    # the file is as large either way. No loop has more steps. Nothing is differentiated, so nothing is computed again.
    automatic = {"unroll": (0, LARGEST_COUNT), "remat": ("auto", "none")}
    for option, (choice, meaning) in automatic.items():
        if getattr(model.config, option, None) == choice:
            model = model.clone(config=dataclasses.replace(model.config, **{option: meaning}))
    # PROVIDE, a backbone too, infers frame after frame: the number of frames is fixed, as in models of other kinds.
    frames_are_free = isinstance(model, Backbone) and type(model).infer is Backbone.infer
    functions = _slot_functions(model, params) if frames_are_free else _clip_functions(model, params)
    return {function.__name__: _serialize(function, inputs) for function, inputs in functions.items()}


def _slot_functions(model: Backbone, params: Mapping[str, Any]) -> dict[Callable, tuple]:
    config, variables = model.config, {"params": params}

    def infer(video, seed):
        return model.apply(variables, video, jax.random.key(seed), deterministic=True, method="infer")

    def distill(latents):
        return model.apply(variables, latents, method="distill")

    def rollout(latents):
        return model.apply(variables, latents, num_steps=config.num_rollout_steps, method="rollout")

    def array(shape, smallest, dtype=jnp.float32):
        shape = f"b, t, {', '.join(map(str, shape))}"
        return jax.ShapeDtypeStruct(export.symbolic_shape(shape, constraints=[f"t >= {smallest}"]), dtype)

    fewest = 2 if config.num_tracking_steps else 1  # its loop over the other frames must have one
    functions = {infer: (array((config.image_height, config.image_width, 3), fewest), SEED)}
    latents = array((config.num_slots, config.latent_size), 2)
    later = {function: (latents,) for function in (distill, rollout) if hasattr(model, function.__name__)}
    return functions | later


def _clip_functions(model: VideoModel, params: Mapping[str, Any]) -> dict[Callable, tuple]:
    observed, num_steps = model.num_context_frames, model.num_rollout_steps

    def clip_keys(video, seed):
        # Not `jax.random.split`, whose number of keys must be known.
        return jax.vmap(partial(jax.random.fold_in, jax.random.key(seed)))(jnp.arange(video.shape[0]))

    def infer(video, seed):
        seen = model.look(params, video, clip_keys(video, seed))
        return {name: value for name, value in seen._asdict().items() if value is not None}

    def predict(context, seed):
        options = dict(num_predicted=num_steps, num_observed=observed)
        return model.look(params, context, clip_keys(context, seed), **options).predicted

    def video(num_frames):
        shape = f"b, {num_frames}, {model.config.image_height}, {model.config.image_width}, 3"
        return jax.ShapeDtypeStruct(export.symbolic_shape(shape), jnp.float32)

    context = jax.ShapeDtypeStruct((1, *video(observed).shape[1:]), jnp.float32)
    functions = {infer: (video(observed + num_steps), SEED)}
    if jax.eval_shape(predict, context, SEED) is not None:
        functions[predict] = (video(observed), SEED)
    return functions


def _serialize(function, inputs: tuple) -> bytes:
    exported = export.export(jax.jit(lambda *x: _as_dict(function(*x))), platforms=PLATFORMS)(*inputs)
    return bytes(exported.serialize())


def _as_dict(record):
    """Records as dictionaries: a reader without our classes could not rebuild them."""
    if not hasattr(record, "_asdict"):
        return record
    return {name: _as_dict(value) for name, value in record._asdict().items()}
