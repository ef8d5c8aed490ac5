"""ProvideConfig, and PROVIDE's two schedules: of the decodings over a clip's frames, of the loss over the training."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from oddn_jax.config import ODDNConfig

# (nats per frame of 64x64 pixels, the weight of the likelihood above them), for the variance of PROVIDE's likelihood
NLL_WEIGHT_SCHEDULE = ((200.0, 100.0), (600.0, 300.0))
LIKELIHOOD_VARIANCE = 0.3


@dataclasses.dataclass(kw_only=True, unsafe_hash=True)
class ProvideConfig(ODDNConfig):
    """Architecture and objective of PROVIDE: the backbone's fields, and its own.

    The fields of ODDN's dynamics, relation and prediction are without effect.
    """

    kl_weight: float = 10.0  # psi; PROVIDE's code
    nll_weight_schedule: bool = (
        True  # `next_nll_weight` after each training step; PROVIDE's code for colour data
    )

    def validate(self):
        """Checks the whole configuration.

        Raises:
          ValueError: a field is out of its range; the message names it, its value and what is allowed.
        """
        super().validate()
        if self.num_refinement_steps < 2:
            raise ValueError(
                f"num_refinement_steps={self.num_refinement_steps} must be at least 2: each frame is decoded twice"
            )


def num_decodings(config: ProvideConfig, num_frames: int) -> list[int]:
    """How often each frame is decoded: T, T - 1, ..., 2, and twice each later frame.

    Source: PROVIDE's code.
    """
    return [max(2, config.num_refinement_steps - frame) for frame in range(num_frames)]


def next_nll_weight(
    nll_weight: float | Float[Array, ""], nll_final: Float[Array, ""], config: ProvideConfig
) -> Float[Array, ""]:
    """The weight of the likelihood in the next training step: 300 above 600 nats, 100 above 200, else as it was.

    Args:
      nll_weight: in this step; `config.nll_weight` in the first one.
      nll_final: `terms["nll_final"]` of this step's losses, in nats per frame.
      config: the model's; without `nll_weight_schedule` the weight stays.

    Source: PROVIDE's code, for 64x64 pixels and a likelihood variance of 0.3; for others we scale its thresholds, by
    the area and the inverse of the variance, and the weights, so that a squared error weighs the same.
    """
    following = jnp.asarray(nll_weight, jnp.float32)
    if config.nll_weight_schedule:
        area = config.image_height * config.image_width / 64**2
        narrower = LIKELIHOOD_VARIANCE / config.likelihood_variance
        for threshold, weight in NLL_WEIGHT_SCHEDULE:
            following = jnp.where(nll_final > threshold * area * narrower, weight / narrower, following)
    return following
