"""The systems that the paper compares ODDN with."""

from oddn_jax.baselines.iodine import IODINE, params_from_torch
from oddn_jax.baselines.iodine_linear import IODINELinear, IODINELinearConfig
from oddn_jax.baselines.monet import Decomposition, MONet, monet_losses
from oddn_jax.baselines.monet_config import MONetConfig
from oddn_jax.baselines.provide import PROVIDE, provide_losses
from oddn_jax.baselines.provide_config import ProvideConfig, next_nll_weight
from oddn_jax.baselines.srvp import SRVP
from oddn_jax.baselines.srvp_config import SRVPConfig, SRVPNoise, srvp_noise
from oddn_jax.baselines.srvp_losses import SRVPOutputs, SRVPRollout, srvp_losses

__all__ = [
    "IODINE",
    "PROVIDE",
    "SRVP",
    "Decomposition",
    "IODINELinear",
    "IODINELinearConfig",
    "MONet",
    "MONetConfig",
    "ProvideConfig",
    "SRVPConfig",
    "SRVPNoise",
    "SRVPOutputs",
    "SRVPRollout",
    "monet_losses",
    "next_nll_weight",
    "params_from_torch",
    "provide_losses",
    "srvp_losses",
    "srvp_noise",
]
