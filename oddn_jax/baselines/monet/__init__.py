"""MONet (Burgess et al. 2019): a scene taken apart by repeated attention."""

from oddn_jax.baselines.monet.config import MONetConfig
from oddn_jax.baselines.monet.model import Decomposition, MONet, monet_losses

__all__ = ["Decomposition", "MONet", "MONetConfig", "monet_losses"]
