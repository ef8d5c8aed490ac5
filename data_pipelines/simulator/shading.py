"""Light and materials, compiled, and the tone curve of the pictures. Everything is linear light until then.

Lights are rows of an array f64[3 LIGHT_COLUMNS]: the key, the fill and the back light. Bodies are those of `rays`.

Only operations that IEEE 754 rounds correctly are used, no library functions: every machine has the same.

Source: our choice, tuned to look like CLEVRER's grey studio: a large key light, a weaker fill light, a back
light without shadow, and an ambient term that darkens where objects meet the floor.
"""

import math

import numpy as np

from data_pipelines.simulator.compilation import helper
from data_pipelines.simulator.config import COLORS
from data_pipelines.simulator.rays import BLUE, GREEN, HALF_SIZE, METAL, RED, SHAPE, SPHERE, X, Y, Z

AMBIENT = 0.30
FLOOR_ALBEDO = 0.33
MAX_OCCLUSION = 0.9


# A light is a disk that faces the origin, or a point. Columns after the position: radiant intensity, and radius.
INTENSITY, RADIUS = 3, 4
LIGHT_COLUMNS = 5
KEY, FILL, BACK = range(3)
_POSITIONS = np.array([[2.2, 2.4, 4.4], [2.0, -4.0, 3.2], [-4.0, -1.0, 4.0]])
_AT_ORIGIN = np.array([0.80, 0.30, 0.22])  # irradiance there of a surface that faces the light
_RADII = np.array([0.75, 0.9, 0.0])
LIGHTS = np.column_stack([_POSITIONS, _AT_ORIGIN * (_POSITIONS**2).sum(1), _RADII])
SHADOW_LIGHTS = (KEY, FILL)


def light_points(light: int, count: int) -> np.ndarray:
    """`count` points f64[count 3], spread evenly over the disk of a light (a sunflower)."""
    position = _POSITIONS[light]
    k = np.arange(count) + 0.5
    radius, angle = _RADII[light] * np.sqrt(k / count), k * np.pi * (3 - 5**0.5)
    facing = position / np.linalg.norm(position)
    across = np.cross(facing, [0.0, 0.0, 1.0])
    across /= np.linalg.norm(across)
    offsets = (radius * np.cos(angle))[:, None] * across
    return position + offsets + (radius * np.sin(angle))[:, None] * np.cross(facing, across)


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
    """Rounded to f32, such that the last bit of a machine's power is lost."""
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return linear.astype(np.float32).astype(np.float64)


@helper
def level(radiance, thresholds):
    """The level of a radiance: the number of thresholds up to it."""
    found, step = 0, 128
    while step:
        found += step if thresholds[found + step - 1] <= radiance else 0
        step >>= 1
    return found


@helper
def floor_irradiance(light, lights, x, y):
    """Unshadowed, of a point of the floor."""
    x, y, z = lights[light, X] - x, lights[light, Y] - y, lights[light, Z]
    squared = x * x + y * y + z * z
    return lights[light, INTENSITY] * z / (squared * math.sqrt(squared))


@helper
def openness(bodies, own, x, y, z, nx, ny, nz):
    """The share of ambient light that reaches a point with a normal past other bodies, taken as spheres."""
    share = 1.0
    for i in range(len(bodies)):
        if i != own:
            ax, ay, az = bodies[i, X] - x, bodies[i, Y] - y, bodies[i, Z] - z
            height = ax * nx + ay * ny + az * nz
            if height > 0:
                squared = ax * ax + ay * ay + az * az + 1e-6
                hidden = height * bodies[i, HALF_SIZE] * bodies[i, HALF_SIZE] / (squared * math.sqrt(squared))
                share *= 1 - MAX_OCCLUSION * min(hidden, 1.0)
    return share


@helper
def body_radiance(lights, bodies, i, x, y, z, nx, ny, nz, vx, vy, vz, key_visible, fill_visible):
    """Light (red, green, blue) from a point of body i, with normal n, along -v to the camera; n and v of length 1.

    Args:
        key_visible, fill_visible: the shares of these lights that reach the point.
    """
    metal = bodies[i, METAL] > 0
    facing = vx * nx + vy * ny + vz * nz
    mx, my, mz = vx - 2 * facing * nx, vy - 2 * facing * ny, vz - 2 * facing * nz
    diffuse = (
        AMBIENT * openness(bodies, i, x, y, z, nx, ny, nz) * (0.75 + 0.25 * nz) * (0.4 if metal else 1.0)
    )
    gloss = 0.0
    for light in range(3):
        visible = 1.0 if light == BACK else key_visible if light == KEY else fill_visible
        if visible > 0:
            lx, ly, lz = lights[light, X] - x, lights[light, Y] - y, lights[light, Z] - z
            squared = lx * lx + ly * ly + lz * lz
            length = math.sqrt(squared)
            arriving = visible * lights[light, INTENSITY] / squared
            diffuse += arriving * max((nx * lx + ny * ly + nz * lz) / length, 0.0) * (0.3 if metal else 1.0)
            gloss += arriving * _lobes(max((mx * lx + my * ly + mz * lz) / length, 0.0), metal)
    red, green, blue = bodies[i, RED], bodies[i, GREEN], bodies[i, BLUE]
    if not metal:
        return red * diffuse + gloss, green * diffuse + gloss, blue * diffuse + gloss
    # A tint at normal incidence that turns white at grazing angles (Schlick).
    strongest = max(red, green, blue)
    tint = max(strongest, 0.5) / max(strongest, 1e-3)
    grazing = 1 - abs(facing)
    fresnel = 0.06 + 0.94 * grazing * grazing * grazing * grazing * grazing
    seen_red, seen_green, seen_blue = _mirror_image(bodies, i, x, y, z, mx, my, mz)
    return (
        red * diffuse + gloss + 1.35 * seen_red * (red * tint * (1 - fresnel) + fresnel),
        green * diffuse + gloss + 1.35 * seen_green * (green * tint * (1 - fresnel) + fresnel),
        blue * diffuse + gloss + 1.35 * seen_blue * (blue * tint * (1 - fresnel) + fresnel),
    )


@helper
def _lobes(cosine, metal):
    """Highlights by the cosine between mirrored view and light: 2.2 c**90 + 0.35 c**12 of metal, 0.16 c**14 of rubber."""
    second = cosine * cosine
    fourth = second * second
    twelfth = fourth * fourth * fourth
    if not metal:
        return 0.16 * twelfth * second
    sixth = fourth * second
    thirtieth = twelfth * twelfth * sixth
    return 2.2 * thirtieth * thirtieth * thirtieth + 0.35 * twelfth


@helper
def _mirror_image(bodies, own, x, y, z, dx, dy, dz):
    """What metal reflects: a floor darker near the object, a dim studio, and on spheres the other objects.

    Other objects are mirrored as spheres; on the faces of cubes and cylinders that would leave dark wedges.
    """
    nearest = math.inf
    if dz < 0:
        nearest = z / max(-dz, 1e-3)
        grey = FLOOR_ALBEDO * (0.22 + 0.78 * min(max(nearest / 0.7, 0.0), 1.0))
    else:
        grey = 0.05 + 0.30 * _decay(3.2 * dz)
    red, green, blue = grey, grey, grey
    if bodies[own, SHAPE] == SPHERE:
        for i in range(len(bodies)):
            if i != own:
                ax, ay, az = bodies[i, X] - x, bodies[i, Y] - y, bodies[i, Z] - z
                along = ax * dx + ay * dy + az * dz
                miss = ax * ax + ay * ay + az * az - along * along
                radius = bodies[i, HALF_SIZE] * (1.0 if bodies[i, SHAPE] == SPHERE else 1.15)
                if 0 < along < nearest and miss < radius * radius:
                    nearest = along
                    red, green, blue = 0.6 * bodies[i, RED], 0.6 * bodies[i, GREEN], 0.6 * bodies[i, BLUE]
    return red, green, blue


@helper
def _decay(x):
    """exp(-x) for x in [0, 3.2], to five digits: exp(-x / 32) from its series, squared five times."""
    x /= 32
    power = 1 - x * (1 - x / 2 * (1 - x / 3 * (1 - x / 4)))
    for _ in range(5):
        power *= power
    return power
