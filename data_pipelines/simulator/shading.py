"""Light, materials and tone curve of the pictures. Everything is f32 and linear light until `to_pixels`.

Axis letters here: p shaded points, s samples of a pixel, n objects.

Source: our choice, tuned to look like CLEVRER's grey studio: a large key light, a weaker fill light, a back
light without shadow, and an ambient term that darkens where objects meet the floor.
"""

from typing import NamedTuple

import numpy as np

from data_pipelines.simulator.config import COLORS, HALF_SIZE

AMBIENT = np.float32(0.30)
FLOOR_ALBEDO = np.float32(0.33)
MAX_OCCLUSION = np.float32(0.9)


class Light(NamedTuple):
    """A disk that faces the origin, as bright there as `intensity` says, with inverse-square falloff."""

    position: tuple[float, float, float]
    radius: float
    intensity: float


KEY = Light((2.2, 2.4, 4.4), radius=0.75, intensity=0.80)
FILL = Light((2.0, -4.0, 3.2), radius=0.9, intensity=0.30)
BACK = Light((-4.0, -1.0, 4.0), radius=0.0, intensity=0.22)
LIGHTS = (KEY, FILL, BACK)
SHADOW_LIGHTS = (KEY, FILL)


class Surface(NamedTuple):
    """Points on objects, seen by the camera."""

    position: np.ndarray  # f32[p 3]
    normal: np.ndarray  # f32[p 3]
    view: np.ndarray  # f32[p 3] unit, from the camera
    object_index: np.ndarray  # i32[p]
    visibility: tuple[np.ndarray, ...]  # per light f32[p] in [0, 1]


def light_points(light: Light, count: int) -> np.ndarray:
    """`count` points f64[count 3], spread evenly over the disk of a light (a sunflower)."""
    k = np.arange(count) + 0.5
    radius, angle = light.radius * np.sqrt(k / count), k * np.pi * (3 - 5**0.5)
    facing = np.array(light.position) / np.linalg.norm(light.position)
    across = np.cross(facing, [0.0, 0.0, 1.0])
    across /= np.linalg.norm(across)
    offsets = (radius * np.cos(angle))[:, None] * across
    return light.position + offsets + (radius * np.sin(angle))[:, None] * np.cross(facing, across)


def floor_irradiance(light: Light, points: np.ndarray) -> np.ndarray:
    """Unshadowed irradiance f32[...] of floor points f32[... 3]."""
    offset = np.float32(light.position) - points
    squared = _dot(offset, offset)
    strength = np.float32(light.intensity * np.dot(light.position, light.position))
    return strength * offset[..., 2] / (squared * np.sqrt(squared))


def floor_openness(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Share of ambient light that reaches floor points f32[... 3] past objects f32[n 3], taken as spheres."""
    openness = np.ones(points.shape[:-1], np.float32)
    for centre in centres:
        offset = centre - points
        openness *= 1 - _sphere_occlusion(offset, offset[..., 2])
    return openness


def floor_radiance(ambient: np.ndarray | float, direct: list[np.ndarray]) -> np.ndarray:
    """Radiance f32[...] of the grey floor from its openness and the irradiance of each light."""
    return FLOOR_ALBEDO * (AMBIENT * ambient + sum(direct))


def object_radiance(
    surface: Surface, colors: np.ndarray, metallic: np.ndarray, spherical: np.ndarray, centres: np.ndarray
) -> np.ndarray:
    """Radiance f32[p 3] of points on objects.

    Args:
        colors: f32[n 3] linear; metallic, spherical: bool[n]; centres: f32[n 3], far away when not there.
    """
    position, normal, view, index, visibility = surface
    color, metal = colors[index], metallic[index].astype(np.float32)
    mirrored = view - 2 * _dot(view, normal)[:, None] * normal
    openness = np.ones(len(position), np.float32)
    for i, centre in enumerate(centres):
        offset = centre - position
        occlusion = _sphere_occlusion(offset, _dot(offset, normal))
        openness *= 1 - np.where(index == i, 0, occlusion)
    diffuse = AMBIENT * openness * (0.75 + 0.25 * normal[:, 2]) * (1 - 0.6 * metal)
    gloss = np.zeros(len(position), np.float32)
    for light, visible in zip(LIGHTS, visibility):
        offset = np.float32(light.position) - position
        squared = _dot(offset, offset)
        direction = offset / np.sqrt(squared)[:, None]
        arriving = visible * np.float32(light.intensity * np.dot(light.position, light.position)) / squared
        diffuse += arriving * np.maximum(_dot(normal, direction), 0) * (1 - 0.7 * metal)
        lobe = np.maximum(_dot(mirrored, direction), 0)
        gloss += arriving * np.where(metal > 0, 2.2 * lobe**90 + 0.35 * lobe**12, 0.16 * lobe**14)
    radiance = color * diffuse[:, None] + gloss[:, None]
    shiny = metal > 0
    if shiny.any():
        seen = _mirror_image(position[shiny], mirrored[shiny], index[shiny], colors, spherical, centres)
        facing = np.abs(_dot(view[shiny], normal[shiny]))[:, None]
        radiance[shiny] += 1.35 * seen * _metal_reflectance(color[shiny], facing)
    return radiance


def to_pixels(radiance: np.ndarray) -> np.ndarray:
    """Linear light f32[... 3] to sRGB u8, highlights through a soft shoulder."""
    bright = np.maximum(radiance, 0)
    bright = np.minimum(1.25 * bright * (1 + bright / 4) / (1 + bright), 1)
    curve = 1.055 * np.maximum(bright, np.float32(1e-6)) ** np.float32(1 / 2.4) - 0.055
    return (255 * np.where(bright <= 0.0031308, 12.92 * bright, curve) + 0.5).astype(np.uint8)


def linear_color(name: str) -> np.ndarray:
    """A colour of CLEVR's table as linear light f32[3]."""
    value = np.array(COLORS[name]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The product over an axis of three, written out: some ten times faster than a sum over so short an axis."""
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2]


def _sphere_occlusion(offset: np.ndarray, height: np.ndarray) -> np.ndarray:
    """The share of a hemisphere hidden by a sphere at f32[... 3], `height` above the surface's plane."""
    squared = _dot(offset, offset) + np.float32(1e-6)
    hidden = np.maximum(height, 0) / np.sqrt(squared) * np.float32(HALF_SIZE**2) / squared
    return MAX_OCCLUSION * np.minimum(hidden, 1)


def _metal_reflectance(color: np.ndarray, facing: np.ndarray) -> np.ndarray:
    """A tint at normal incidence that turns white at grazing angles (Schlick)."""
    strongest = color.max(-1, keepdims=True)
    tint = color / np.maximum(strongest, 1e-3) * np.maximum(strongest, 0.5)
    fresnel = 0.06 + 0.94 * (1 - facing) ** 5
    return tint * (1 - fresnel) + fresnel


def _mirror_image(position, direction, index, colors, spherical, centres) -> np.ndarray:
    """What metal reflects: a floor darker near the object, a dim studio, and on spheres the other objects.

    Other objects are mirrored as spheres; on the faces of cubes and cylinders that would leave dark wedges.
    """
    downward = direction[:, 2] < 0
    floor_distance = position[:, 2] / np.maximum(-direction[:, 2], 1e-3)
    floor = FLOOR_ALBEDO * (0.22 + 0.78 * np.clip(floor_distance / 0.7, 0, 1))
    studio = 0.05 + 0.30 * np.exp(-3.2 * np.maximum(direction[:, 2], 0))
    image = np.repeat(np.where(downward, floor, studio)[:, None], 3, axis=1)
    nearest = np.where(downward, floor_distance, np.inf)
    for i, centre in enumerate(centres):
        offset = centre - position
        along = _dot(offset, direction)
        miss = _dot(offset, offset) - along * along
        radius = HALF_SIZE * (1.0 if spherical[i] else 1.15)
        hit = spherical[index] & (index != i) & (along > 0) & (miss < radius**2) & (along < nearest)
        nearest = np.where(hit, along, nearest)
        image = np.where(hit[:, None], 0.6 * colors[i], image)
    return image
