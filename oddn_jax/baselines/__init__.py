"""The systems that the paper compares ODDN with."""

from oddn_jax.baselines.iodine import IODINE, params_from_torch
from oddn_jax.baselines.iodine_linear import IODINELinear, IODINELinearConfig, iodine_linear_losses
from oddn_jax.baselines.provide import PROVIDE, provide_losses
from oddn_jax.baselines.provide_config import ProvideConfig, next_nll_weight

__all__ = [
    "IODINE",
    "PROVIDE",
    "IODINELinear",
    "IODINELinearConfig",
    "ProvideConfig",
    "iodine_linear_losses",
    "next_nll_weight",
    "params_from_torch",
    "provide_losses",
]
