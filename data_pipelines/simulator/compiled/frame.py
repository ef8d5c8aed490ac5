"""One frame, compiled: what the cells of its pixels see, and how bright that is.

Axis letters: h w picture, s cells of a pixel, n bodies, k points on a light for each cell, e points that span its disk.
"""

import math

import numpy as np

from data_pipelines.simulator.compiled import compiler
from data_pipelines.simulator.compiled.bounds import (
    COVERED,
    DARKENED,
    HORIZON,
    POSITION,
    bound,
    floor_point,
    mark_row,
    ray,
)
from data_pipelines.simulator.compiled.compiler import helper
from data_pipelines.simulator.compiled.light import (
    AMBIENT,
    BACK,
    FLOOR_ALBEDO,
    body_radiance,
    floor_irradiance,
    level,
    openness,
)
from data_pipelines.simulator.compiled.rays import (
    CURVED,
    HALF_SIZE,
    LABEL,
    METAL,
    SHAPE,
    X,
    Y,
    Z,
    enter,
    normal,
    seen_from,
    to_body,
)
from data_pipelines.simulator.compiled.shadows import FLOOR, SURFACE, VISIBLE, has, look, suspects

# How much rubber may bend from one end of a pixel to the other, as a share, before all of its cells are shaded.
SMOOTH = 0.03


@helper
def _place(size, height, width, row, column, cell):
    """The middle of a cell, in pixels from the middle of the picture; a pixel has size**2 cells, row by row."""
    across = column + (cell % size + 0.5) / size - width / 2
    return across, row + (cell // size + 0.5) / size - height / 2


@helper
def _see(camera, bodies, eyes, bits, size, height, width, row, column, cells, votes):
    """Sets what the cells of a pixel see of the bodies among `bits` and the floor; counts them, the floor first."""
    for i in range(len(bodies) + 1):
        votes[i] = 0
    for cell in range(size * size):
        across, down = _place(size, height, width, row, column, cell)
        dx, dy, dz = ray(camera, across, down)
        best = -camera[POSITION, Z] / min(dz, -HORIZON)
        winner, surface = 0, FLOOR
        for i in range(len(bodies)):
            if has(bits, i):
                lx, ly, lz = to_body(bodies, i, dx, dy, dz)
                ox, oy, oz = eyes[i, X], eyes[i, Y], eyes[i, Z]
                way, face = enter(bodies[i, SHAPE], bodies[i, HALF_SIZE], ox, oy, oz, lx, ly, lz)
                if 0 < way < best:
                    best, winner, surface = way, i + 1, 4 * i + face
        votes[winner] += 1
        cells[cell, SURFACE] = surface
        cells[cell, X] = camera[POSITION, X] + best * dx
        cells[cell, Y] = camera[POSITION, Y] + best * dy
        cells[cell, Z] = camera[POSITION, Z] + best * dz


@helper
def _majority(votes, number):
    """Which of `number` has most votes, the first one if several have."""
    winner = 0
    for i in range(1, number):
        if votes[i] > votes[winner]:
            winner = i
    return winner


@helper
def _floor_radiance(lights, lamps, ray_counts, bodies, reached, column, spot, irradiance, cells, count):
    """The mean radiance of the `count` cells of a pixel that see the floor, from place and light of its middle."""
    x, y, radius = spot
    direct = irradiance[BACK]
    for light in range(2):
        among = reached[light, column]
        share = 1.0
        if among:
            among = suspects(bodies, lights, light, among, x, y, 0.0, radius)
            if among:
                share = look(bodies, among, lamps, light, ray_counts[light], cells, FLOOR) / count
        direct += share * irradiance[light]
    return FLOOR_ALBEDO * (AMBIENT * openness(bodies, -1, x, y, 0.0, 0.0, 0.0, 1.0) + direct)


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
        key, fill = fill, share  # after the second turn, each where it belongs
    flat = face != CURVED
    middle = (first + last) // 2
    while cells[middle, SURFACE] != surface:
        middle += 1
    red, green, blue = 0.0, 0.0, 0.0
    # At first flat surfaces are sampled in the middle and curved rubber at both ends and in between, metal not at all.
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
                nx, ny, nz = normal(bodies, i, face, lx, ly, lz)
                r, g, b = body_radiance(lights, bodies, i, px, py, pz, nx, ny, nz, vx, vy, vz, key, fill)
                samples += 1
                red, green, blue = red + r, green + g, blue + b
                bend += (r + g + b) * (-2 if cell == middle else 1)
                if flat:
                    break
        if flat or abs(bend) < SMOOTH * (red + green + blue) / samples:
            break
    return red * count / samples, green * count / samples, blue * count / samples


def _programs(digest: str):
    @compiler.kept
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
                x, y = floor_point(camera, across, down)
                radius = 0.0
                for corner in range(4):
                    cx, cy = floor_point(camera, across + (corner & 1) - 0.5, down + 0.5 * (corner & 2) - 0.5)
                    radius = max(radius, math.sqrt((cx - x) * (cx - x) + (cy - y) * (cy - y)))
                spots[row, column, X], spots[row, column, Y], spots[row, column, 2] = x, y, radius
                for i in range(3):
                    light[row, column, i] = floor_irradiance(i, lights, x, y)

    @compiler.kept
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
        bound(camera, height, width, edges, bodies, boxes)
        for i in range(len(bodies)):
            eyes[i, X], eyes[i, Y], eyes[i, Z] = seen_from(
                bodies, i, camera[POSITION, X], camera[POSITION, Y], camera[POSITION, Z]
            )
            for light in range(2):
                for k in range(ray_counts[light]):
                    for cell in range(count):
                        point = (
                            points[light, k, cell, X],
                            points[light, k, cell, Y],
                            points[light, k, cell, Z],
                        )
                        x, y, z = seen_from(bodies, i, *point)
                        lamps[i, light, k, cell, X], lamps[i, light, k, cell, Y] = x, y
                        lamps[i, light, k, cell, Z] = z
        for row in range(height):
            first, end = mark_row(boxes, len(bodies), row, reached)
            for column in range(first, end):
                covered = reached[COVERED, column]
                if covered | reached[0, column] | reached[1, column] | reached[DARKENED, column] == 0:
                    continue
                on_floor = count
                if covered:
                    _see(camera, bodies, eyes, covered, size, height, width, row, column, cells, votes)
                    winner = _majority(votes, len(bodies) + 1)
                    mask[row, column] = bodies[winner - 1, LABEL] if winner else 0
                    on_floor = votes[0]
                elif reached[0, column] | reached[1, column]:
                    for cell in range(count):
                        across, down = _place(size, height, width, row, column, cell)
                        cells[cell, X], cells[cell, Y] = floor_point(camera, across, down)
                        cells[cell, Z], cells[cell, SURFACE] = 0.0, FLOOR
                red, green, blue = 0.0, 0.0, 0.0
                if on_floor:
                    spot = spots[row, column, 0], spots[row, column, 1], spots[row, column, 2]
                    irradiance = (
                        floor_light[row, column, 0],
                        floor_light[row, column, 1],
                        floor_light[row, column, 2],
                    )
                    red = on_floor * _floor_radiance(
                        lights, lamps, ray_counts, bodies, reached, column, spot, irradiance, cells, on_floor
                    )
                    green, blue = red, red
                for cell in range(count if on_floor < count else 0):
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
                    picture[row, column, channel] = level(value / count, thresholds)
                if on_floor == count:
                    picture[row, column, 1] = picture[row, column, 2] = picture[row, column, 0]

    return floor_of, draw


floor_of, draw = _programs(compiler.digest())
