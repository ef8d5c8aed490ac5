"""What is between points and lights, compiled.

Axis letters: n bodies, s cells of a pixel, k points on a light for each cell.
"""

import math

import numpy as np

from data_pipelines.simulator.compiled.compiler import helper
from data_pipelines.simulator.compiled.light import RADIUS
from data_pipelines.simulator.compiled.rays import (
    BALL,
    HALF_SIZE,
    SHAPE,
    X,
    Y,
    Z,
    enter,
    faces,
    seen_from,
    to_body,
)

# Columns of `cells` f64[s CELL_COLUMNS] after the point that a cell sees: the surface that the point is on
# (4 * body + face, or FLOOR), and the share of the key light (then of the fill light) that reaches it.
SURFACE, VISIBLE = 3, 4
CELL_COLUMNS = 6
FLOOR = -1

LIT = 0.994  # a shadow ray must be stopped before this share of its way, or it lights its own surface


@helper
def has(bits, i):
    """Whether bit i of a u64 is set."""
    return bits >> np.uint64(i) & np.uint64(1)


@helper
def suspects(bodies, lights, light, bits, x, y, z, radius):
    """The bodies among `bits` that may be between some point of a light and some point of a ball; also as bits."""
    found = np.uint64(0)
    lx, ly, lz = lights[light, X] - x, lights[light, Y] - y, lights[light, Z] - z
    squared = lx * lx + ly * ly + lz * lz
    length = math.sqrt(squared)
    spread = lights[light, RADIUS]
    for i in range(len(bodies)):
        if has(bits, i):
            ax, ay, az = bodies[i, X] - x, bodies[i, Y] - y, bodies[i, Z] - z
            along = min(max((ax * lx + ay * ly + az * lz) / squared, 0.0), 1.0)
            # Where rays from the ball to the light are nearest to the body, they are within `slack` of the middle one.
            away = math.sqrt(ax * ax + ay * ay + az * az)
            slack = radius + spread * (along + 2 * (radius + away * (spread + radius) / length) / length)
            gx, gy, gz = ax - along * lx, ay - along * ly, az - along * lz
            reach = bodies[i, BALL] + slack
            if gx * gx + gy * gy + gz * gz < reach * reach:
                ox, oy, oz = seen_from(bodies, i, lights[light, X], lights[light, Y], lights[light, Z])
                dx, dy, dz = to_body(bodies, i, -lx, -ly, -lz)
                way, _ = enter(bodies[i, SHAPE], bodies[i, HALF_SIZE] + slack, ox, oy, oz, dx, dy, dz)
                if way <= 1:
                    found |= np.uint64(1) << np.uint64(i)
    return found


@helper
def look(bodies, among, lamps, light, rays, cells, surface):
    """Sets the share of a light that each cell of a surface sees past the bodies `among`; returns the sum.

    Args:
        lamps: f64[n 2 k s 3] points on the lights, in the frames of the bodies; the first `rays` of the k are used.
    """
    total = 0
    for cell in range(len(cells)):
        if cells[cell, SURFACE] == surface:
            lit = rays
            if among:
                for k in range(rays):
                    if _blocked(bodies, among, lamps, light, k, cells, cell):
                        lit -= 1
            cells[cell, VISIBLE + light] = lit / rays
            total += lit
    return total / rays


@helper
def _blocked(bodies, among, lamps, light, k, cells, cell):
    """Whether a body is between the point of a cell and its point k on a light."""
    surface = int(cells[cell, SURFACE])
    for i in range(len(bodies)):
        if has(among, i):
            ox, oy, oz = lamps[i, light, k, cell, X], lamps[i, light, k, cell, Y], lamps[i, light, k, cell, Z]
            x, y, z = seen_from(bodies, i, cells[cell, X], cells[cell, Y], cells[cell, Z])
            dx, dy, dz = x - ox, y - oy, z - oz
            own = surface >> 2 == i
            if own and faces(bodies[i, SHAPE], surface & 3, x, y, z, -dx, -dy, -dz):
                continue
            way, _ = enter(bodies[i, SHAPE], bodies[i, HALF_SIZE], ox, oy, oz, dx, dy, dz)
            if 0 <= way <= LIT:
                return True
    return False
