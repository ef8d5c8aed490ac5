"""Pictures and exact instance masks without a graphics driver.

The camera stands still, so the empty floor is shaded once per scene and a frame redraws only the pixels that
an object, its shadow or its contact darkening can reach. Every cell of a supersampled pixel casts to its own
points on the lights, so that supersampling also softens the shadows.
"""

import numpy as np

from data_pipelines.simulator import shading
from data_pipelines.simulator.compiled import frame, light, rays, shadows
from data_pipelines.simulator.config import HALF_SIZE
from data_pipelines.simulator.physics import rotation_matrices
from data_pipelines.simulator.scenes import Scene

SHAPES = {"cube": rays.CUBE, "sphere": rays.SPHERE, "cylinder": rays.CYLINDER}
DISK_EDGES = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 0.6], [0, 0, -0.6]])


class Renderer:
    """Draws the frames of one scene at one size.

    Args:
        supersampling: s = supersampling**2 cells per pixel.
        shadow_rays: per cell, toward the key light and toward the fill light.

    Raises:
        ValueError: the scene has more than 64 objects.
    """

    def __init__(
        self,
        scene: Scene,
        *,
        height: int,
        width: int,
        supersampling: int,
        shadow_rays: tuple[int, int] = (1, 1),
    ):
        camera, number, cells = scene.camera, len(scene.objects), supersampling**2
        if number > 64:
            raise ValueError(
                f"at most 64 objects can be drawn, one for each bit of a word; there are {number}"
            )
        forward = camera.forward * (camera.focal_length * height)
        self.camera = np.stack([camera.position, forward, camera.right, camera.up])
        self.supersampling = supersampling
        self.ray_counts = np.array(shadow_rays)
        self.points = np.zeros((2, max(shadow_rays), cells, 3))
        self.edges = np.empty((2, len(DISK_EDGES), 3))
        for row, count in enumerate(shadow_rays):
            position, radius = shading.LIGHTS[row, : rays.Z + 1], shading.LIGHTS[row, light.RADIUS]
            self.points[row, :count] = shading.light_points(row, cells * count).reshape(count, cells, 3)
            self.edges[row] = position + radius * DISK_EDGES
        self.thresholds = shading.thresholds()
        self.bodies = np.zeros((number, rays.BODY_COLUMNS))
        for body, thing in zip(self.bodies, scene.objects):
            shape = SHAPES[thing.shape]
            body[rays.SHAPE], body[rays.HALF_SIZE] = shape, HALF_SIZE
            body[rays.BALL] = HALF_SIZE * rays.BALLS[shape]
            body[rays.RED : rays.BLUE + 1] = shading.linear_color(thing.color)
            body[rays.METAL], body[rays.LABEL] = thing.material == "metal", thing.object_id + 1
        self.floor = np.empty((height, width, 3)), np.empty((height, width, 3))
        frame.floor_of(self.camera, shading.LIGHTS, *self.floor)
        empty = light.FLOOR_ALBEDO * (light.AMBIENT + self.floor[1].sum(-1))
        levels = np.searchsorted(self.thresholds, empty, side="right").astype(np.uint8)
        self.background = np.repeat(levels[..., None], 3, axis=-1)
        self.scratch = (
            np.empty((number, 4, 4)),
            np.empty((number, 3)),
            np.empty((number, *self.points.shape)),
            np.empty((4, width), np.uint64),
            np.empty((cells, shadows.CELL_COLUMNS)),
            np.empty(number + 1, np.int64),
        )

    def draw(
        self, location: np.ndarray, orientation: np.ndarray, present: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """One frame: the picture u8[h w 3], and the mask u8[h w] with 0 for the floor and object index + 1.

        A mask pixel belongs to whoever has most of its cells.

        Args:
            location: f64[n 3]; orientation: f64[n 4] unit quaternions; present: bool[n].
        """
        self.bodies[:, : rays.Z + 1] = location
        self.bodies[:, rays.ROTATION :] = rotation_matrices(orientation).reshape(-1, 9)
        picture, mask = self.background.copy(), np.zeros(self.background.shape[:2], np.uint8)
        frame.draw(
            self.camera,
            self.supersampling,
            shading.LIGHTS,
            self.edges,
            self.points,
            self.ray_counts,
            self.bodies[present],
            self.floor,
            self.thresholds,
            self.scratch,
            picture,
            mask,
        )
        return picture, mask
