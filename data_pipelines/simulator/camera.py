"""A pinhole camera whose scale follows the picture's height.

A 64 x 64 picture is therefore exactly the central square of the 480 x 320 one, and 96 x 64 the whole of it:
the paper's two settings. Pixel coordinates are continuous: column i, row j covers [i, i + 1) x [j, j + 1).
"""

import math
from typing import NamedTuple

import numpy as np

from data_pipelines.simulator.config import CLEVRER_ASPECT_RATIO

NEAR = 0.1  # world units; nothing closer to the camera is in view


class Camera(NamedTuple):
    """Axes of unit length; x of the world comes toward the camera."""

    position: np.ndarray  # f64[3]
    forward: np.ndarray  # f64[3]
    right: np.ndarray  # f64[3]
    up: np.ndarray  # f64[3]
    focal_length: float  # in picture heights

    def project(self, points: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Points f64[... 3] to pixels f64[... 2] (x, y) and depth f64[...] in world units."""
        offset = np.asarray(points) - self.position
        depth = offset @ self.forward
        plane = np.stack([offset @ self.right, -(offset @ self.up)], axis=-1) / depth[..., None]
        return plane * (self.focal_length * height) + np.array([width, height]) / 2, depth

    def project_velocity(self, points: np.ndarray, velocities: np.ndarray, height: int) -> np.ndarray:
        """The exact image velocity f64[... 2] (x, y; pixels per second) of moving points f64[... 3]."""
        axes = np.stack([self.right, -self.up], axis=-1)
        offset = np.asarray(points) - self.position
        depth = (offset @ self.forward)[..., None]
        receding = (velocities @ self.forward)[..., None]
        return (velocities @ axes - (offset @ axes) * receding / depth) / depth * (self.focal_length * height)

    def on_level(self, pixels: np.ndarray, height: int, width: int, level: float) -> np.ndarray:
        """The points f64[... 3] at a level above the floor (world units) that pixels f64[... 2] (x, y) show.

        Raises:
            ValueError: a pixel shows no point of that level: it lies at the horizon or above it.
        """
        plane = (np.asarray(pixels) - np.array([width, height]) / 2) / (self.focal_length * height)
        directions = self.forward + plane[..., :1] * self.right - plane[..., 1:] * self.up
        if not (directions[..., 2] * (level - self.position[2]) > 0).all():
            raise ValueError("a pixel at the horizon or above it shows no point of the floor")
        return self.position + (level - self.position[2]) / directions[..., 2:] * directions

    def rays(self, height: int, width: int, supersampling: int) -> np.ndarray:
        """Unit directions f64[h w s 3] through the centres of s = supersampling**2 cells of every pixel."""
        scale = self.focal_length * height
        x = ((np.arange(width * supersampling) + 0.5) / supersampling - width / 2) / scale
        y = (height / 2 - (np.arange(height * supersampling) + 0.5) / supersampling) / scale
        directions = self.forward + x[None, :, None] * self.right + y[:, None, None] * self.up
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
        cells = directions.reshape(height, supersampling, width, supersampling, 3).swapaxes(1, 2)
        return cells.reshape(height, width, supersampling**2, 3)

    def in_view(
        self, points: np.ndarray, margin: float, aspect_ratio: float = CLEVRER_ASPECT_RATIO
    ) -> np.ndarray:
        """Whether points f64[... 3] are in the picture or less than `margin` (world units) outside it."""
        pixels, depth = self.project(points, 1, 1)
        allowed = margin * self.focal_length / np.maximum(depth, NEAR)
        offset = np.abs(pixels - 0.5)
        return (
            (depth > NEAR) & (offset[..., 0] < aspect_ratio / 2 + allowed) & (offset[..., 1] < 0.5 + allowed)
        )


def look_at(
    target: tuple[float, float, float],
    distance: float,
    elevation: float,
    field_of_view: float,
    shift: np.ndarray,
) -> Camera:
    """A camera `distance` from `target` on the side of x, then moved by `shift` f64[3]; angles in degrees.

    Args:
        field_of_view: the horizontal one of a 3:2 picture.
    """
    angle = math.radians(elevation)
    position = np.array(target) + distance * np.array([math.cos(angle), 0.0, math.sin(angle)]) + shift
    forward = np.array(target) - position
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    focal_length = CLEVRER_ASPECT_RATIO / 2 / math.tan(math.radians(field_of_view) / 2)
    return Camera(position, forward, right, np.cross(right, forward), focal_length)
