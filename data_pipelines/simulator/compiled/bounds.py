"""Places in the picture, and bounds of the pixels that a body may change, compiled.

The camera is an array f64[4 3] of rows: its position, and the directions forward, right and up; FORWARD is as long
as the focal length in pixels, the other two are of length 1.

Axis letters: n bodies, e points that span the disk of a light, w picture.
"""

import math

import numpy as np

from data_pipelines.simulator.compiled.compiler import helper
from data_pipelines.simulator.compiled.rays import HALF_SIZE, X, Y, Z, to_world

POSITION, FORWARD, RIGHT, UP = range(4)
COVERED, DARKENED = 2, 3  # what a body may do to a pixel, after shading it from KEY and FILL

HORIZON = 0.01  # pixels; rays that descend less meet the floor as if they descended so much
OCCLUSION_REACH = 2.2  # half-sizes; beyond, the floor is as bright as without the body
BEHIND_CAMERA = 0.05  # world units


@helper
def ray(camera, across, down):
    """From the camera through a place in the picture, in pixels from its middle."""
    return (
        camera[FORWARD, X] + across * camera[RIGHT, X] - down * camera[UP, X],
        camera[FORWARD, Y] + across * camera[RIGHT, Y] - down * camera[UP, Y],
        camera[FORWARD, Z] + across * camera[RIGHT, Z] - down * camera[UP, Z],
    )


@helper
def floor_point(camera, across, down):
    """Where the ray through a place in the picture meets the floor."""
    dx, dy, dz = ray(camera, across, down)
    way = -camera[POSITION, Z] / min(dz, -HORIZON)
    return camera[POSITION, X] + way * dx, camera[POSITION, Y] + way * dy


@helper
def bound(camera, height, width, edges, bodies, boxes):
    """Sets bounds f64[n 4 4] (left, top, right, bottom; ends exclusive) of what every body may do to the picture."""
    for i in range(len(bodies)):
        for what in range(4):
            boxes[i, what, 0], boxes[i, what, 1] = math.inf, math.inf
            boxes[i, what, 2], boxes[i, what, 3] = -math.inf, -math.inf
        for corner in range(8):
            sx, sy, sz = 2.0 * (corner & 1) - 1, 1.0 * (corner & 2) - 1, 0.5 * (corner & 4) - 1
            half = bodies[i, HALF_SIZE]
            x, y, z = to_world(bodies, i, sx * half, sy * half, sz * half)
            x, y, z = bodies[i, X] + x, bodies[i, Y] + y, bodies[i, Z] + z
            foot = OCCLUSION_REACH * half
            for what in range(4):
                for edge in range(edges.shape[1] if what < COVERED else 1):
                    px, py, pz = x, y, z
                    if what < COVERED:
                        ex, ey, ez = edges[what, edge, X], edges[what, edge, Y], edges[what, edge, Z]
                        reach = ez / (ez - max(z, 0.0))
                        px, py, pz = ex + (x - ex) * reach, ey + (y - ey) * reach, 0.0
                    elif what == DARKENED:
                        px, py, pz = bodies[i, X] + sx * foot, bodies[i, Y] + sy * foot, 0.0
                    _extend(camera, boxes, i, what, px, py, pz)
        for what in range(4):
            for side in range(4):
                end = width if side & 1 == 0 else height
                bound = boxes[i, what, side] + end / 2
                bound = math.floor(bound) - 1 if side < 2 else math.ceil(bound) + 1
                boxes[i, what, side] = max(min(bound, end), 0)


@helper
def _extend(camera, boxes, i, what, x, y, z):
    """Extends bounds, in pixels from the picture's middle, by a point if it is in front of the camera."""
    x, y, z = x - camera[POSITION, X], y - camera[POSITION, Y], z - camera[POSITION, Z]
    fx, fy, fz = camera[FORWARD, X], camera[FORWARD, Y], camera[FORWARD, Z]
    squared = fx * fx + fy * fy + fz * fz
    ahead = x * fx + y * fy + z * fz
    if ahead > BEHIND_CAMERA * math.sqrt(squared):
        across = squared / ahead * (x * camera[RIGHT, X] + y * camera[RIGHT, Y] + z * camera[RIGHT, Z])
        down = -squared / ahead * (x * camera[UP, X] + y * camera[UP, Y] + z * camera[UP, Z])
        boxes[i, what, 0], boxes[i, what, 2] = min(boxes[i, what, 0], across), max(boxes[i, what, 2], across)
        boxes[i, what, 1], boxes[i, what, 3] = min(boxes[i, what, 1], down), max(boxes[i, what, 3], down)


@helper
def mark_row(boxes, number, row, reached):
    """Sets the bits of the bodies whose bounds a row crosses; returns the columns (first, end) that have any."""
    width = reached.shape[1]
    for what in range(4):
        for column in range(width):
            reached[what, column] = 0
    first, end = width, 0
    for i in range(number):
        for what in range(4):
            left, right = int(boxes[i, what, 0]), int(boxes[i, what, 2])
            if boxes[i, what, 1] <= row < boxes[i, what, 3] and left < right:
                first, end = min(first, left), max(end, right)
                for column in range(left, right):
                    reached[what, column] |= np.uint64(1) << np.uint64(i)
    return first, end
