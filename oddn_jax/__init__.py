"""ODDN in JAX and Flax: objects, their dynamics and their future from unlabelled video.

Axis letters, in this whole project: b batch, t time, k slots, r refinement step, h w image, l latent, d dynamics,
p prediction; `*b` any leading axes. Videos are [b t h w 3] with pixels in [0, 1].

    model = oddn_jax.ODDN(oddn_jax.ODDNConfig.preset("prediction"))
    params = model.init(jax.random.key(0), video, jax.random.key(1))["params"]
    inferred = model.apply({"params": params}, video, key, method="infer")
    future = model.apply({"params": params}, video[:, :2], key, num_steps=6, method="rollout")
    oddn_jax.save("oddn.safetensors", model.config, params); model, params = oddn_jax.load("oddn.safetensors")
"""

from oddn_jax import baselines, distributions, losses, metrics, reasoning
from oddn_jax.compilation import compiler_options
from oddn_jax.config import ODDNConfig
from oddn_jax.decoder import Decoded
from oddn_jax.distributions import Posterior
from oddn_jax.dynamics import Distillation
from oddn_jax.export import load, read_provenance, save
from oddn_jax.inference import Inference
from oddn_jax.model import ODDN, Outputs, Rollout
from oddn_jax.models import MODELS, find_model, model_name
from oddn_jax.prediction import Prediction
from oddn_jax.relation import Interaction
from oddn_jax.serialized import serialize_functions
from oddn_jax.version import __version__
from oddn_jax.video_model import Seen, VideoModel

__all__ = [
    "MODELS",
    "ODDN",
    "Decoded",
    "Distillation",
    "Inference",
    "Interaction",
    "ODDNConfig",
    "Outputs",
    "Posterior",
    "Prediction",
    "Rollout",
    "Seen",
    "VideoModel",
    "__version__",
    "baselines",
    "compiler_options",
    "distributions",
    "find_model",
    "load",
    "losses",
    "metrics",
    "model_name",
    "read_provenance",
    "reasoning",
    "save",
    "serialize_functions",
]
