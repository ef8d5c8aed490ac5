"""Light and materials, compiled. Everything is linear light until `level`.

Lights are rows of an array f64[3 LIGHT_COLUMNS]: key, fill and back light. Only operations that IEEE 754 rounds
correctly are used, no library functions: every machine has the same.

Source: our choice, tuned to look like CLEVRER's grey studio: a large key light, a weaker fill light, a back
light without shadow, and an ambient term that darkens where objects meet the floor.
"""

import math

from data_pipelines.simulator.compiled.compiler import helper
from data_pipelines.simulator.compiled.rays import BLUE, GREEN, HALF_SIZE, METAL, RED, SHAPE, SPHERE, X, Y, Z

KEY, FILL, BACK = range(3)  # rows of lights
INTENSITY, RADIUS = (
    3,
    4,
)  # columns after the position: radiant intensity; a light is a disk that faces the origin
LIGHT_COLUMNS = 5

AMBIENT = 0.30
FLOOR_ALBEDO = 0.33
MAX_OCCLUSION = 0.9


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
    """Highlights by the cosine c of mirrored view and light: 2.2 c**90 + 0.35 c**12 of metal, 0.16 c**14 of rubber."""
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
