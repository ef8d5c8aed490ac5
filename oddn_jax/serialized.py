"""Serialised functions: a trained model as StableHLO, which runs with JAX alone and none of this code.

One file a function, read with `jax.export.deserialize` (which needs the package flatbuffers, as writing does). The
parameters are constants in it; batch size b and number of frames t are free, any t for `infer`, two or more for the
others. Inputs and outputs are arrays and plain dictionaries, with the names of our records.

    infer(video f32[b t h w 3], seed u32[])     {"latents", "posterior", "decoded", "nll", "kl", "trajectory"}
    distill(latents f32[b t k l])               {"dynamics", "match_attention"}
    rollout(latents f32[b t k l])               {"latents", "dynamics", "decoded", "pair_attention", "match_attention"}

`infer` takes a seed in place of a key, which has no portable type, and its latents are the posterior's mean: the same
numbers as `model.apply(..., video, jax.random.key(seed), deterministic=True, method="infer")`. `rollout` takes these
latents, of which it uses the last two frames, and predicts `config.num_rollout_steps` frames.
"""

import dataclasses
import importlib.util
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import export

from oddn_jax.backbone import Backbone
from oddn_jax.model import ODDN

PLATFORMS = ("cpu", "cuda")


def serialize_functions(model: Backbone, params: Mapping[str, Any]) -> dict[str, bytes]:
    """Serialises what a trained model can do, by name: `infer`, and for ODDN `distill` and `rollout`.

    Written by one version of JAX, a file is read by that and later ones, for as long as JAX promises.

    Raises:
      ModuleNotFoundError: the package flatbuffers is not installed.
    """
    if importlib.util.find_spec("flatbuffers") is None:
        raise ModuleNotFoundError(
            'serialised functions need the package flatbuffers: pip install "oddn_jax[export]"'
        )
    config = model.config
    if config.unroll == 0:
        # The automatic choice looks at the machine that writes. The CPU needs the whole loop unrolled, an accelerator
        # bears it, and the file is as large either way.
        config = dataclasses.replace(config, unroll=config.num_refinement_steps)
        model = model.clone(config=config)
    variables = {"params": params}

    def infer(video, seed):
        return model.apply(variables, video, jax.random.key(seed), deterministic=True, method="infer")

    def distill(latents):
        return model.apply(variables, latents, method="distill")

    def rollout(latents):
        return model.apply(variables, latents, num_steps=config.num_rollout_steps, method="rollout")

    def array(shape, smallest, dtype=jnp.float32):
        shape = f"b, t, {', '.join(map(str, shape))}"
        return jax.ShapeDtypeStruct(export.symbolic_shape(shape, constraints=[f"t >= {smallest}"]), dtype)

    video = array((config.image_height, config.image_width, 3), 1)
    functions = {infer: (video, jax.ShapeDtypeStruct((), jnp.uint32))}
    if isinstance(model, ODDN):
        latents = array((config.num_slots, config.latent_size), 2)
        functions |= {distill: (latents,), rollout: (latents,)}
    return {function.__name__: _serialize(function, inputs) for function, inputs in functions.items()}


def _serialize(function, inputs: tuple) -> bytes:
    exported = export.export(jax.jit(lambda *x: _as_dict(function(*x))), platforms=PLATFORMS)(*inputs)
    return bytes(exported.serialize())


def _as_dict(record):
    """Records as dictionaries: a reader without our classes could not rebuild them."""
    if not hasattr(record, "_asdict"):
        return record
    return {name: _as_dict(value) for name, value in record._asdict().items()}
