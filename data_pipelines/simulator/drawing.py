"""One frame, compiled: which pixels change, what their cells see, and how bright that is.

Axis letters: h w picture, s cells of a pixel, n bodies, k points on a light for each cell.
"""

import math

import numpy as np

from data_pipelines.simulator import compilation, rays, shading, shadows
from data_pipelines.simulator.compilation import helper
from data_pipelines.simulator.rays import (
    CURVED,
    HALF_SIZE,
    LABEL,
    METAL,
    SHAPE,
    X,
    Y,
    Z,
    enter,
    seen_from,
    to_body,
)
from data_pipelines.simulator.shading import AMBIENT, BACK, FLOOR_ALBEDO
from data_pipelines.simulator.shadows import FLOOR, RAY, SURFACE, VISIBLE, has, look, suspects

# Rows of `camera` f64[4 3]. FORWARD is as long as the focal length in pixels, the other two directions are of length 1.
POSITION, FORWARD, RIGHT, UP = range(4)
# What a body may do to a pixel, after shading it from the key or the fill light.
COVERED, DARKENED = 2, 3

HORIZON = 0.01  # pixels; rays that descend less meet the floor as if they descended so much
OCCLUSION_REACH = 2.2  # half-sizes
BEHIND_CAMERA = 0.05  # world units
# How much rubber may bend from one end of a pixel to the other, as a share, before all of its cells are shaded.
SMOOTH = 0.03


@helper
def _ray(camera, across, down):
    """From the camera through a place in the picture, in pixels from its middle."""
    return (
        camera[FORWARD, X] + across * camera[RIGHT, X] - down * camera[UP, X],
        camera[FORWARD, Y] + across * camera[RIGHT, Y] - down * camera[UP, Y],
        camera[FORWARD, Z] + across * camera[RIGHT, Z] - down * camera[UP, Z],
    )


@helper
def _floor_point(camera, across, down):
    """Where the ray through a place in the picture meets the floor."""
    dx, dy, dz = _ray(camera, across, down)
    way = -camera[POSITION, Z] / min(dz, -HORIZON)
    return camera[POSITION, X] + way * dx, camera[POSITION, Y] + way * dy


@helper
def _bound(camera, height, width, edges, bodies, boxes):
    """Sets bounds f64[n 4 4] (left, top, right, bottom; ends exclusive) of what every body may do to the picture."""
    for i in range(len(bodies)):
        for what in range(4):
            boxes[i, what, 0], boxes[i, what, 1] = math.inf, math.inf
            boxes[i, what, 2], boxes[i, what, 3] = -math.inf, -math.inf
        for corner in range(8):
            sx, sy, sz = 2.0 * (corner & 1) - 1, 1.0 * (corner & 2) - 1, 0.5 * (corner & 4) - 1
            half = bodies[i, HALF_SIZE]
            x, y, z = rays.to_world(bodies, i, sx * half, sy * half, sz * half)
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
def _mark_row(boxes, number, row, reached):
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


@helper
def _cast(camera, bodies, eyes, bits, across, down, cells, cell):
    """Sets what a cell sees of the bodies among `bits` and the floor; returns the number of the body, -1 the floor."""
    dx, dy, dz = _ray(camera, across, down)
    best = -camera[POSITION, Z] / min(dz, -HORIZON)
    body, surface = -1, FLOOR
    for i in range(len(bodies)):
        if has(bits, i):
            lx, ly, lz = to_body(bodies, i, dx, dy, dz)
            way, face = enter(
                bodies[i, SHAPE], bodies[i, HALF_SIZE], eyes[i, X], eyes[i, Y], eyes[i, Z], lx, ly, lz
            )
            if 0 < way < best:
                best, body, surface = way, i, 4 * i + face
    cells[cell, RAY], cells[cell, RAY + 1], cells[cell, RAY + 2] = dx, dy, dz
    cells[cell, SURFACE] = surface
    cells[cell, X] = camera[POSITION, X] + best * dx
    cells[cell, Y] = camera[POSITION, Y] + best * dy
    cells[cell, Z] = camera[POSITION, Z] + best * dz
    return body


@helper
def _surface_radiance(camera, lights, lamps, ray_counts, bodies, cells, surface):
    """The sum of the radiances of the cells that see a surface of a body."""
    i, face = surface >> 2, surface & 3
    count, first, last = 0, 0, 0
    x, y, z, radius = 0.0, 0.0, 0.0, 0.0
    for cell in range(len(cells)):
        if cells[cell, SURFACE] == surface:
            x, y, z = x + cells[cell, X], y + cells[cell, Y], z + cells[cell, Z]
            first = cell if count == 0 else first
            last = cell
            count += 1
    x, y, z = x / count, y / count, z / count
    for cell in range(first, last + 1):
        if cells[cell, SURFACE] == surface:
            ax, ay, az = cells[cell, X] - x, cells[cell, Y] - y, cells[cell, Z] - z
            radius = max(radius, math.sqrt(ax * ax + ay * ay + az * az))
    key, fill = 0.0, 0.0
    for light in range(2):
        among = suspects(bodies, lights, light, ~np.uint64(0), x, y, z, radius)
        share = look(bodies, among, lamps, light, ray_counts[light], cells, surface) / count
        key, fill = fill, share
    flat = face != CURVED
    middle = (first + last) // 2
    while cells[middle, SURFACE] != surface:
        middle += 1
    red, green, blue = 0.0, 0.0, 0.0
    # At first a flat surface is sampled in its middle, curved rubber at both ends and in between; metal at once in full.
    for attempt in range(0 if flat or (not bodies[i, METAL] and count > 3) else 1, 2):
        samples, bend = 0, 0.0
        red, green, blue = 0.0, 0.0, 0.0
        for cell in range(first, last + 1):
            few = attempt == 0
            if cells[cell, SURFACE] == surface and (
                not few or cell == first or cell == middle or cell == last
            ):
                px, py, pz = cells[cell, X], cells[cell, Y], cells[cell, Z]
                if flat:
                    px, py, pz = x, y, z
                if not few:
                    key, fill = cells[cell, VISIBLE], cells[cell, VISIBLE + 1]
                vx, vy, vz = px - camera[POSITION, X], py - camera[POSITION, Y], pz - camera[POSITION, Z]
                length = math.sqrt(vx * vx + vy * vy + vz * vz)
                vx, vy, vz = vx / length, vy / length, vz / length
                lx, ly, lz = seen_from(bodies, i, px, py, pz)
                nx, ny, nz = rays.normal(bodies, i, face, lx, ly, lz)
                r, g, b = shading.body_radiance(
                    lights, bodies, i, px, py, pz, nx, ny, nz, vx, vy, vz, key, fill
                )
                samples += 1
                red, green, blue = red + r, green + g, blue + b
                bend += (r + g + b) * (-2 if cell == middle else 1)
                if flat:
                    break
        if flat or abs(bend) < SMOOTH * (red + green + blue) / samples:
            break
    return red * count / samples, green * count / samples, blue * count / samples


def _programs(digest: str):
    @compilation.kept
    def floor_of(camera, lights, spots, light):
        """Fills in what the empty floor is like in every pixel.

        Args:
            spots: f64[h w 3] x and y of the point in a pixel's middle, and the radius around it of what it shows.
            light: f64[h w 3] unshadowed irradiance there from each light.
        """
        len(digest)
        height, width, _ = spots.shape
        for row in range(height):
            for column in range(width):
                across, down = column + 0.5 - width / 2, row + 0.5 - height / 2
                x, y = _floor_point(camera, across, down)
                radius = 0.0
                for corner in range(4):
                    cx, cy = _floor_point(
                        camera, across + (corner & 1) - 0.5, down + 0.5 * (corner & 2) - 0.5
                    )
                    radius = max(radius, math.sqrt((cx - x) * (cx - x) + (cy - y) * (cy - y)))
                spots[row, column, X], spots[row, column, Y], spots[row, column, 2] = x, y, radius
                for i in range(3):
                    light[row, column, i] = shading.floor_irradiance(i, lights, x, y)

    @compilation.kept
    def draw(
        camera, size, lights, edges, points, ray_counts, bodies, floor, thresholds, scratch, picture, mask
    ):
        """Draws what differs from the empty floor into its `picture` u8[h w 3] and `mask` u8[h w].

        Args:
            size: of s = size**2 cells per pixel.
            edges: f64[2 e 3] points that span the disks of the key and the fill light.
            points: f64[2 k s 3] on these lights; ray_counts: i64[2], how many of the k are used.
            floor: what `floor_of` filled in.
            thresholds: f64[255] of `shading`.
            scratch: f64[n 4 4], f64[n 3], f64[n 2 k s 3], u64[4 w], f64[s CELL_COLUMNS], i64[n + 1], any contents.
        """
        len(digest)
        spots, floor_light = floor
        boxes, eyes, lamps, reached, cells, votes = scratch
        height, width = mask.shape
        count = size * size
        _bound(camera, height, width, edges, bodies, boxes)
        for i in range(len(bodies)):
            eyes[i, X], eyes[i, Y], eyes[i, Z] = seen_from(
                bodies, i, camera[POSITION, X], camera[POSITION, Y], camera[POSITION, Z]
            )
            for light in range(2):
                for k in range(ray_counts[light]):
                    for cell in range(count):
                        x, y, z = (
                            points[light, k, cell, X],
                            points[light, k, cell, Y],
                            points[light, k, cell, Z],
                        )
                        x, y, z = seen_from(bodies, i, x, y, z)
                        lamps[i, light, k, cell, X], lamps[i, light, k, cell, Y] = x, y
                        lamps[i, light, k, cell, Z] = z
        for row in range(height):
            first, end = _mark_row(boxes, len(bodies), row, reached)
            for column in range(first, end):
                covered = reached[COVERED, column]
                if covered | reached[0, column] | reached[1, column] | reached[DARKENED, column] == 0:
                    continue
                on_floor = count
                if covered:
                    for i in range(len(bodies) + 1):
                        votes[i] = 0
                    for cell in range(count):
                        across = column + (cell % size + 0.5) / size - width / 2
                        down = row + (cell // size + 0.5) / size - height / 2
                        votes[_cast(camera, bodies, eyes, covered, across, down, cells, cell) + 1] += 1
                    winner = 0
                    for i in range(1, len(bodies) + 1):
                        if votes[i] > votes[winner]:
                            winner = i
                    if winner:
                        mask[row, column] = bodies[winner - 1, LABEL]
                    on_floor = votes[0]
                red, green, blue = 0.0, 0.0, 0.0
                if on_floor:
                    x, y, radius = spots[row, column, X], spots[row, column, Y], spots[row, column, 2]
                    direct = floor_light[row, column, BACK]
                    known = covered > 0
                    for light in range(2):
                        share = 1.0
                        among = reached[light, column]
                        if among:
                            among = suspects(bodies, lights, light, among, x, y, 0.0, radius)
                        if among:
                            if not known:
                                known = True
                                for cell in range(count):
                                    across = column + (cell % size + 0.5) / size - width / 2
                                    down = row + (cell // size + 0.5) / size - height / 2
                                    cells[cell, X], cells[cell, Y] = _floor_point(camera, across, down)
                                    cells[cell, Z], cells[cell, SURFACE] = 0.0, FLOOR
                            lit = look(bodies, among, lamps, light, ray_counts[light], cells, FLOOR)
                            share = lit / on_floor
                        direct += share * floor_light[row, column, light]
                    ambient = AMBIENT * shading.openness(bodies, -1, x, y, 0.0, 0.0, 0.0, 1.0)
                    red = on_floor * FLOOR_ALBEDO * (ambient + direct)
                    green, blue = red, red
                if on_floor < count:
                    for cell in range(count):
                        surface = cells[cell, SURFACE]
                        new = surface != FLOOR
                        for earlier in range(cell):
                            new = new and cells[earlier, SURFACE] != surface
                        if new:
                            r, g, b = _surface_radiance(
                                camera, lights, lamps, ray_counts, bodies, cells, int(surface)
                            )
                            red, green, blue = red + r, green + g, blue + b
                for channel in range(1 if on_floor == count else 3):
                    value = red if channel == 0 else green if channel == 1 else blue
                    picture[row, column, channel] = shading.level(value / count, thresholds)
                if on_floor == count:
                    picture[row, column, 1] = picture[row, column, 2] = picture[row, column, 0]

    return floor_of, draw


floor_of, draw = _programs(compilation.digest([__file__, rays.__file__, shading.__file__, shadows.__file__]))
