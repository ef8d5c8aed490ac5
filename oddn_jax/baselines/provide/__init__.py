"""PROVIDE (Zablotskaia et al. 2021): slots with a memory between frames."""

from oddn_jax.baselines.provide.config import ProvideConfig, next_nll_weight
from oddn_jax.baselines.provide.model import PROVIDE, provide_losses

__all__ = ["PROVIDE", "ProvideConfig", "next_nll_weight", "provide_losses"]
