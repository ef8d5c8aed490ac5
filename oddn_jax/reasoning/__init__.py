"""Answering questions about videos from the latents of their objects."""

from oddn_jax.reasoning import vocabulary

__all__ = ["vocabulary"]
