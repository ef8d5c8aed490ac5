"""The systems that the paper compares ODDN with."""

from oddn_jax.baselines.iodine import IODINE, params_from_torch

__all__ = ["IODINE", "params_from_torch"]
