"""SRVP (Franceschi et al. 2020): video prediction from a latent state without objects."""

from oddn_jax.baselines.srvp.config import SRVPConfig, SRVPNoise, srvp_noise
from oddn_jax.baselines.srvp.losses import SRVPOutputs, SRVPRollout, srvp_losses
from oddn_jax.baselines.srvp.model import SRVP

__all__ = ["SRVP", "SRVPConfig", "SRVPNoise", "SRVPOutputs", "SRVPRollout", "srvp_losses", "srvp_noise"]
