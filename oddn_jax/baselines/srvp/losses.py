"""What SRVP makes of a clip, what it predicts, and its objective."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from oddn_jax.baselines.srvp.config import SRVPConfig
from oddn_jax.baselines.srvp.states import Gaussian, gaussian_kl
from oddn_jax.losses import Losses


class SRVPOutputs(NamedTuple):
    """A clip explained: posterior, prior, path and picture."""

    initial: Gaussian  # [b y], posterior of the first state
    posterior: Gaussian  # [b t-1 z], of the innovations, given the frames up to each one's own
    prior: Gaussian  # [b t-1 z], of the innovations, given the state before each
    states: Float[Array, "b t y"]
    residuals: Float[Array, "b t-1 e y"]  # what each Euler step added, step size included
    content: Float[Array, "b m"]
    reconstruction: Float[Array, "b t h w 3"]  # in (0, 1)
    nll: Float[Array, "b t"]  # nats per frame, normaliser included
    squared_error: Float[Array, "b t"]  # mean over pixels and colours


class SRVPRollout(NamedTuple):
    """Predicted frames. Entry s belongs to the s-th frame after the context."""

    states: Float[Array, "b t y"]
    video: Float[Array, "b t h w 3"]  # in (0, 1)


def srvp_losses(outputs: SRVPOutputs, config: SRVPConfig) -> Losses:
    """Negative evidence lower bound and the penalty on the residuals, in nats per clip.

    The record's `prediction` is 0, for SRVP's frames all come from its dynamics; its total is reconstruction + kl +
    residual_weight * `terms["residual_norm"]`.

    Source: SRVP's code: L2 norm of what each Euler step adds, summed over the steps.
    """
    initial, posterior, prior = outputs.initial, outputs.posterior, outputs.prior
    standard = Gaussian(jnp.zeros_like(initial.mean), jnp.ones_like(initial.mean))
    kl_initial = gaussian_kl(initial, standard).mean()
    kl_innovations = gaussian_kl(posterior, prior).sum(-1).mean()
    # The bound keeps the root's gradient finite where a step adds nothing.
    norms = jnp.sqrt(jnp.maximum((outputs.residuals**2).sum(-1), 1e-12))
    residual_norm = norms.sum((-2, -1)).mean()
    reconstruction = outputs.nll.sum(-1).mean()
    kl = config.initial_kl_weight * kl_initial + config.innovation_kl_weight * kl_innovations
    terms = {
        "nll": outputs.nll.mean(),
        "mse": outputs.squared_error.mean(),
        "kl_initial": kl_initial,
        "kl_innovations": kl_innovations,
        "residual_norm": residual_norm,
    }
    total = reconstruction + kl + config.residual_weight * residual_norm
    return Losses(total, reconstruction, kl, jnp.zeros_like(total), terms)
