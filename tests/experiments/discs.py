"""Slots drawn by hand: discs before a background."""

import numpy as np

import oddn_jax

SIZE = 24  # pixels


def discs(positions):
    """Slot masks f32[*b k h w 1]: discs of radius 3 at positions [*b k-1 2], behind them the background, slot 0."""
    positions = np.asarray(positions, float)[..., None, None, :]
    y, x = np.mgrid[:SIZE, :SIZE]
    inside = ((x - positions[..., 0]) ** 2 + (y - positions[..., 1]) ** 2 <= 9).astype(float)
    return np.concatenate([1 - inside.sum(-3, keepdims=True).clip(0, 1), inside], -3)[..., None]


def decoded_discs(positions, colors):
    """Decoded discs, whose slots have the colours [k 3]."""
    masks = discs(positions)
    rgb = np.broadcast_to(np.asarray(colors)[:, None, None], (*masks.shape[:-1], 3))
    return oddn_jax.Decoded(rgb, np.log(masks + 1e-6), masks, (masks * rgb).sum(-4))
