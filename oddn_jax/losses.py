"""The training objective, Eq. 5-6, with each term by its name and in nats."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from oddn_jax.config import ODDNConfig
from oddn_jax.inference import Inference


class Losses(NamedTuple):
    """Mean over the clips of a batch, in nats per clip, weights applied: total = reconstruction + kl + prediction."""

    total: Float[Array, ""]
    reconstruction: Float[Array, ""]
    kl: Float[Array, ""]
    prediction: Float[Array, ""]
    terms: dict[str, Float[Array, ""]]  # what is logged besides, unweighted: nats per frame, or as named

    def by_name(self) -> dict[str, Float[Array, ""]]:
        """All of them, the total as "loss"."""
        named = {"loss": self.total, "reconstruction": self.reconstruction, "kl": self.kl}
        return named | {"prediction": self.prediction, **self.terms}


def iteration_weights(config: ODDNConfig, num_steps: int) -> Float[Array, " r"]:
    """Weight of each decoding's loss: t/T ("linear"), 1 ("uniform"), or only the last one's ("last").

    Source: the backbone's code; Eq. 5 prints no weights.
    """
    steps = jnp.arange(1, num_steps + 1)
    if config.iteration_weights == "linear":
        return steps / num_steps
    return (
        jnp.ones(num_steps) if config.iteration_weights == "uniform" else (steps == num_steps).astype(float)
    )


def elbo_losses(inference: Inference, config: ODDNConfig) -> tuple[Float[Array, "*b"], Float[Array, "*b"]]:
    """The two terms of L_r of each frame, weighted and summed over the refinement steps.

    With `num_tracking_steps` all frames but the first of a clip, whose axis is then the last of `*b`, have the last
    decodings only, with the weights of these.

    Source: paper Eq. 5, with beta on the likelihood (paper A.3).
    """
    *lead, num_steps = inference.nll.shape
    weights = iteration_weights(config, num_steps).astype(inference.nll.dtype)
    if config.num_tracking_steps and lead:
        left_out = np.arange(num_steps) < num_steps - config.num_tracking_steps
        weights = jnp.where(left_out & (np.arange(lead[-1]) > 0)[:, None], 0, weights)
    return config.nll_weight * (inference.nll * weights).sum(-1), config.kl_weight * (
        inference.kl * weights
    ).sum(-1)


def prediction_weights(target: Int[Array, " p"], num_frames: int) -> Float[Array, " p"]:
    """One over the number of predictions that aim at the same frame, so that each target frame counts once.

    Source: our choice; otherwise L_p would grow with the depth of the rollouts.
    """
    counts = jnp.zeros(num_frames).at[target].add(1)
    return 1 / counts[target]


def iodine_losses(inference: Inference, config: ODDNConfig) -> Losses:
    """L_r alone, of a model that predicts nothing in training.

    Source: paper Eq. 5.

    Args:
      inference: of a batch of clips, [b t ...].
      config: the model's.
    """
    reconstruction, kl = (term.sum(-1).mean() for term in elbo_losses(inference, config))
    terms = {
        "nll": inference.nll[..., -1].mean(),
        "kl_last": inference.kl[..., -1].mean(),
        "nll_first": inference.nll[..., 0].mean(),
    }
    return Losses(reconstruction + kl, reconstruction, kl, jnp.zeros_like(kl), terms)


def oddn_losses(outputs: Any, config: ODDNConfig) -> Losses:
    """L = L_r + w_p L_p; neither term sees how a prediction was made.

    Source: paper Eq. 5-6.

    Args:
      outputs: of `ODDN` or `IODINELinear` on a batch of clips; their `inference` and `prediction` are read.
      config: the model's.
    """
    inference, prediction = outputs.inference, outputs.prediction
    observed = iodine_losses(inference, config)
    weights = prediction_weights(prediction.target, inference.nll.shape[1]).astype(prediction.nll.dtype)
    scale = config.prediction_weight * (config.nll_weight if config.nll_weight_on_prediction else 1.0)
    predicted = scale * (prediction.nll * weights).sum(-1).mean()
    terms = {
        "nll_predicted": (prediction.nll * weights).sum(-1).mean() / weights.sum(),
        "mse_predicted": (prediction.squared_error * weights).sum(-1).mean() / weights.sum(),
    }
    return Losses(
        observed.total + predicted, observed.reconstruction, observed.kl, predicted, observed.terms | terms
    )
