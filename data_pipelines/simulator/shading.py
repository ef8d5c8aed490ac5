"""The lights of the studio, and colours between sRGB and linear light.

Source: our choice, tuned to look like CLEVRER's grey studio.
"""

import numpy as np

from data_pipelines.simulator.config import COLORS

# Key, fill and back light.
_POSITIONS = np.array([[2.2, 2.4, 4.4], [2.0, -4.0, 3.2], [-4.0, -1.0, 4.0]])
_AT_ORIGIN = np.array([0.80, 0.30, 0.22])  # irradiance there of a surface that faces the light
_RADII = np.array([0.75, 0.9, 0.0])
LIGHTS = np.column_stack([_POSITIONS, _AT_ORIGIN * (_POSITIONS**2).sum(1), _RADII])


def light_points(light: int, count: int) -> np.ndarray:
    """`count` points f64[count 3], spread evenly over the disk of a light (a sunflower); see `_rounded`."""
    position = _POSITIONS[light]
    k = np.arange(count) + 0.5
    radius, angle = _RADII[light] * np.sqrt(k / count), k * np.pi * (3 - 5**0.5)
    facing = position / np.linalg.norm(position)
    across = np.cross(facing, [0.0, 0.0, 1.0])
    across /= np.linalg.norm(across)
    offsets = (radius * np.cos(angle))[:, None] * across
    return _rounded(position + offsets + (radius * np.sin(angle))[:, None] * np.cross(facing, across))


def linear_color(name: str) -> np.ndarray:
    """A colour of CLEVR's table as linear light f64[3]."""
    return _from_srgb(np.array(COLORS[name]) / 255)


def thresholds() -> np.ndarray:
    """The least radiances f64[255] that are level 1, 2, ... of sRGB, highlights through a soft shoulder.

    The shoulder takes a radiance x to 1.25 x (1 + x / 4) / (1 + x).
    """
    bright = _from_srgb((np.arange(1, 256) - 0.5) / 255)
    slope = 1.25 - bright
    return (np.sqrt(slope**2 + 1.25 * bright) - slope) / 0.625


def _from_srgb(value: np.ndarray) -> np.ndarray:
    return _rounded(np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4))


def _rounded(array: np.ndarray) -> np.ndarray:
    """To f32's precision: machines differ in the last bit of powers, sines and cosines."""
    return array.astype(np.float32).astype(np.float64)
