"""The systems that the paper compares ODDN with."""

from oddn_jax.baselines.iodine import IODINE, params_from_torch
from oddn_jax.baselines.iodine_linear import IODINELinear, IODINELinearConfig
from oddn_jax.baselines.monet import Decomposition, MONet, MONetConfig, monet_losses
from oddn_jax.baselines.provide import PROVIDE, ProvideConfig, next_nll_weight, provide_losses
from oddn_jax.baselines.srvp import (
    SRVP,
    SRVPConfig,
    SRVPNoise,
    SRVPOutputs,
    SRVPRollout,
    srvp_losses,
    srvp_noise,
)

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
