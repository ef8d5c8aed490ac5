"""Answering questions about videos from the latents of their objects."""

from oddn_jax.reasoning import slots, vocabulary
from oddn_jax.reasoning.aloe import ALOE, Answer
from oddn_jax.reasoning.config import ALOEConfig

__all__ = ["ALOE", "ALOEConfig", "Answer", "slots", "vocabulary"]
