"""Rays against cubes, spheres and cylinders in closed form, compiled.

A body is a row of an array f64[n BODY_COLUMNS]. It turns about its centre, and half its edge, its radius or half its
height is HALF_SIZE. Source: the geometry of MuJoCo's box, sphere and cylinder, and of its rays.
"""

import math

from data_pipelines.simulator.compiled.compiler import helper

CUBE, SPHERE, CYLINDER = range(3)
# Columns. BALL is the radius of the ball around the body, ROTATION the first of nine: from the body's frame to the
# world's, row after row.
X, Y, Z, SHAPE, HALF_SIZE, BALL, RED, GREEN, BLUE, METAL, LABEL, ROTATION = range(12)
BODY_COLUMNS = ROTATION + 9
CURVED = 3  # as a face; flat ones are named by the axis that they are across: 0, 1, 2
BALLS = {CUBE: 3**0.5, SPHERE: 1.0, CYLINDER: 2**0.5}  # in half-sizes


@helper
def enter(shape, half_size, ox, oy, oz, dx, dy, dz):
    """Where a ray from outside a body enters it; origin and direction in the body's frame.

    Returns:
        The distance in lengths of the direction, negative behind the origin and infinite where the ray misses, and
        the face.
    """
    if shape == SPHERE:
        a = dx * dx + dy * dy + dz * dz
        b = ox * dx + oy * dy + oz * dz
        root = b * b - a * (ox * ox + oy * oy + oz * oz - half_size * half_size)
        if root < 0:
            return math.inf, CURVED
        return (-b - math.sqrt(root)) / a, CURVED
    near, far = _slab(half_size, oz, dz)
    face = 2
    if shape == CYLINDER:
        a = dx * dx + dy * dy
        b = ox * dx + oy * dy
        c = ox * ox + oy * oy - half_size * half_size
        root = b * b - a * c
        if root < 0 or (a == 0 and c > 0):
            return math.inf, CURVED
        if a > 0:
            root = math.sqrt(root)
            first, last = (-b - root) / a, (-b + root) / a
            if first > near:
                near, face = first, CURVED
            far = min(far, last)
    else:
        first, last = _slab(half_size, ox, dx)
        if first > near:
            near, face = first, 0
        far = min(far, last)
        first, last = _slab(half_size, oy, dy)
        if first > near:
            near, face = first, 1
        far = min(far, last)
    if near > far:
        return math.inf, face
    return near, face


@helper
def _slab(half_size, o, d):
    """Where a ray enters and leaves |x| <= half_size; enters after it leaves where it misses."""
    if d == 0:
        if abs(o) > half_size:
            return math.inf, -math.inf
        return -math.inf, math.inf
    first, last = (-half_size - o) / d, (half_size - o) / d
    if d > 0:
        return first, last
    return last, first


@helper
def normal(bodies, i, face, x, y, z):
    """The outward unit normal, in the world's frame, at a point of a face, in the body's frame."""
    if face == CURVED:
        half_size = bodies[i, HALF_SIZE]
        x, y, z = x / half_size, y / half_size, z / half_size if bodies[i, SHAPE] == SPHERE else 0.0
    else:
        x = math.copysign(1.0, x) if face == 0 else 0.0
        y = math.copysign(1.0, y) if face == 1 else 0.0
        z = math.copysign(1.0, z) if face == 2 else 0.0
    return to_world(bodies, i, x, y, z)


@helper
def faces(shape, face, x, y, z, dx, dy, dz):
    """Whether a direction leads out of the body from a point of a face, all in the body's frame."""
    if face == CURVED:
        return x * dx + y * dy + (z * dz if shape == SPHERE else 0.0) > 0
    return (x * dx if face == 0 else y * dy if face == 1 else z * dz) > 0


@helper
def to_world(bodies, i, x, y, z):
    """A vector from the body's frame."""
    return (
        bodies[i, ROTATION] * x + bodies[i, ROTATION + 1] * y + bodies[i, ROTATION + 2] * z,
        bodies[i, ROTATION + 3] * x + bodies[i, ROTATION + 4] * y + bodies[i, ROTATION + 5] * z,
        bodies[i, ROTATION + 6] * x + bodies[i, ROTATION + 7] * y + bodies[i, ROTATION + 8] * z,
    )


@helper
def to_body(bodies, i, x, y, z):
    """A vector from the world's frame."""
    return (
        bodies[i, ROTATION] * x + bodies[i, ROTATION + 3] * y + bodies[i, ROTATION + 6] * z,
        bodies[i, ROTATION + 1] * x + bodies[i, ROTATION + 4] * y + bodies[i, ROTATION + 7] * z,
        bodies[i, ROTATION + 2] * x + bodies[i, ROTATION + 5] * y + bodies[i, ROTATION + 8] * z,
    )


@helper
def seen_from(bodies, i, x, y, z):
    """A point of the world in a body's frame."""
    return to_body(bodies, i, x - bodies[i, X], y - bodies[i, Y], z - bodies[i, Z])
