"""Pictures and exact instance masks without a graphics driver: MuJoCo casts the rays, NumPy shades the hits.

The camera stands still, so the empty floor is shaded once per scene and a frame redraws only the pixels that
an object, its shadow or its contact darkening can reach. Every cell of a supersampled pixel casts to its own
points on the lights, so that supersampling also softens the shadows.

Axis letters: p redrawn pixels, s cells of a pixel, n objects, h w picture.
"""

import itertools

import mujoco
import numpy as np

from data_pipelines.simulator import shading
from data_pipelines.simulator.config import HALF_SIZE
from data_pipelines.simulator.physics import build_model, rotation_matrices
from data_pipelines.simulator.scenes import Scene

OUT_OF_THE_WAY = (200.0, 200.0, 50.0)  # where objects wait that are not in the scene yet
HORIZON = 1e-4  # rays that hardly descend meet the floor this far down
LIT = 0.994  # a shadow ray must be stopped before this share of its way, or it lights its own surface
OCCLUSION_REACH = 2.2  # half-sizes
BEHIND_CAMERA = 0.05  # world units
CORNERS = np.array(list(itertools.product((-HALF_SIZE, HALF_SIZE), repeat=3)))
DISK_EDGES = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 0.6], [0, 0, -0.6]])


class Renderer:
    """Draws the frames of one scene at one size.

    Args:
        supersampling: s = supersampling**2 cells per pixel.
        shadow_rays: per cell, toward the key light and the fill light.
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
        self.camera, self.height, self.width = scene.camera, height, width
        self.model = build_model([thing.shape for thing in scene.objects], scene.physics)
        self.data = mujoco.MjData(self.model)
        self.colors = np.stack([shading.linear_color(thing.color) for thing in scene.objects])
        self.metallic = np.array([thing.material == "metal" for thing in scene.objects])
        self.spherical = np.array([thing.shape == "sphere" for thing in scene.objects])

        cells = supersampling**2
        self.rays = self.camera.rays(height, width, supersampling).reshape(-1, cells, 3)
        distance = -self.camera.position[2] / np.minimum(self.rays[..., 2], -HORIZON)
        self.floor = self.camera.position + distance[..., None] * self.rays
        self.irradiance = [
            shading.floor_irradiance(light, self.floor.astype(np.float32)) for light in shading.LIGHTS
        ]
        empty = shading.floor_radiance(1.0, self.irradiance).mean(1)
        self.background = shading.to_pixels(np.repeat(empty[:, None], 3, axis=1))
        self.light_points = [
            shading.light_points(light, cells * count).reshape(count, cells, 3)
            for light, count in zip(shading.SHADOW_LIGHTS, shadow_rays)
        ]

    def draw(
        self, location: np.ndarray, orientation: np.ndarray, present: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """One frame: the picture u8[h w 3], and the mask u8[h w] with 0 for the floor and object index + 1.

        A mask pixel belongs to whoever has most of its cells.

        Args:
            location: f64[n 3]; orientation: f64[n 4] unit quaternions; present: bool[n].
        """
        location = np.where(present[:, None], location, OUT_OF_THE_WAY)
        self.data.qpos[:] = np.concatenate([location, orientation], axis=1).ravel()
        mujoco.mj_kinematics(self.model, self.data)
        picture = self.background.copy()
        mask = np.zeros(self.height * self.width, np.uint8)
        reach = self._reach(location[present], orientation[present])
        pixels = np.flatnonzero(reach.any(0))
        if pixels.size:
            covered, *shadowed, _ = reach[:, pixels]
            labels, radiance = self._shade(pixels, covered, shadowed, location, present)
            picture[pixels] = shading.to_pixels(np.einsum("psc->pc", radiance) / labels.shape[1])
            mask[pixels] = _majority(labels, len(present) + 1)
        return picture.reshape(self.height, self.width, 3), mask.reshape(self.height, self.width)

    def _shade(self, pixels, covered, shadowed, location, present) -> tuple[np.ndarray, np.ndarray]:
        """What the cells of some pixels show: labels i32[p s] and radiance f32[p s 3].

        Args:
            covered: bool[p], where objects may be; shadowed: per light bool[p], where its shadows may fall.
        """
        points = self.floor[pixels]
        labels = np.zeros(points.shape[:2], np.int32)
        rays = self.rays[pixels[covered]]
        normals = np.empty(rays.shape)
        geoms, distances = self._cast(self.camera.position, rays, normals)
        labels[covered] = np.maximum(geoms, 0)  # geom 0 is the floor, -1 the sky
        hit = labels > 0
        seen = geoms > 0
        points[hit] = self.camera.position + distances[seen][:, None] * rays[seen]
        visibility = [
            *(
                self._visibility(points, lamps, covered | reached)
                for lamps, reached in zip(self.light_points, shadowed)
            ),
            np.float32(1),
        ]

        centres = location.astype(np.float32)
        openness = shading.floor_openness(points.astype(np.float32), centres[present])
        direct = [light[pixels] * visible for light, visible in zip(self.irradiance, visibility)]
        radiance = np.repeat(shading.floor_radiance(openness, direct)[..., None], 3, axis=-1)
        if hit.any():
            surface = shading.Surface(
                position=points[hit].astype(np.float32),
                normal=normals[seen].astype(np.float32),
                view=rays[seen].astype(np.float32),
                object_index=labels[hit] - 1,
                visibility=(visibility[0][hit], visibility[1][hit], visibility[2]),
            )
            radiance[hit] = shading.object_radiance(
                surface, self.colors, self.metallic, self.spherical, centres
            )
        return labels, radiance

    def _visibility(self, points: np.ndarray, lamps: np.ndarray, doubtful: np.ndarray) -> np.ndarray:
        """The share f32[p s] of a light that reaches points f64[p s 3].

        Args:
            lamps: f64[k s 3] points on the light, k per cell; doubtful: bool[p], the pixels to cast for.
        """
        visible = np.ones(points.shape[:2], np.float32)
        points = points[doubtful]
        lit = np.zeros(points.shape[:2], np.float32)
        for lamp, cell in itertools.product(lamps, range(points.shape[1])):
            _, distances = self._cast(lamp[cell], points[:, cell] - lamp[cell])
            lit[:, cell] += (distances < 0) | (distances > LIT)
        visible[doubtful] = lit / len(lamps)
        return visible

    def _cast(
        self, origin: np.ndarray, directions: np.ndarray, normals: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Casts rays f64[... 3] from a point: geom (-1 none) and distance in ray lengths, [...]; fills normals."""
        count = directions.size // 3
        geoms, distances = np.empty(count, np.int32), np.empty(count)
        flat = np.ascontiguousarray(directions).reshape(-1)
        flat_normals = None if normals is None else normals.reshape(-1)
        mujoco.mj_multiRay(
            self.model,
            self.data,
            origin,
            flat,
            None,  # all geom groups
            True,
            -1,  # exclude no body
            geoms,
            distances,
            flat_normals,
            count,
            mujoco.mjMAXVAL,
        )
        return geoms.reshape(directions.shape[:-1]), distances.reshape(directions.shape[:-1])

    def _reach(self, location: np.ndarray, orientation: np.ndarray) -> np.ndarray:
        """Bounds bool[4 h*w] of what objects may cover, shade from the key and the fill light, and darken."""
        reach = np.zeros((4, self.height, self.width), bool)
        for centre, matrix in zip(location, rotation_matrices(orientation)):
            corners = centre + CORNERS @ matrix.T
            self._mark(reach[0], corners)
            for mask, light in zip(reach[1:], shading.SHADOW_LIGHTS):
                edges = light.position + light.radius * DISK_EDGES
                self._mark(mask, np.concatenate([_shadow_on_floor(corners, edge) for edge in edges]))
            foot = centre + CORNERS * OCCLUSION_REACH
            foot[:, 2] = 0
            self._mark(reach[3], foot)
        return reach.reshape(4, -1)

    def _mark(self, mask: np.ndarray, points: np.ndarray) -> None:
        """Marks the bounding box of world points in the picture, one pixel wider."""
        pixels, depth = self.camera.project(points, self.height, self.width)
        pixels = pixels[depth > BEHIND_CAMERA]
        if len(pixels):
            left, top = np.maximum(np.floor(pixels.min(0)).astype(int) - 1, 0)
            right, bottom = np.maximum(np.ceil(pixels.max(0)).astype(int) + 1, 0)
            mask[top:bottom, left:right] = True


def _majority(labels: np.ndarray, num_labels: int) -> np.ndarray:
    """The commonest of labels i32[p s] per pixel, the smallest one if several are."""
    first = np.arange(len(labels))[:, None] * num_labels
    votes = np.bincount((first + labels).ravel(), minlength=len(labels) * num_labels)
    return votes.reshape(-1, num_labels).argmax(1)


def _shadow_on_floor(points: np.ndarray, lamp: np.ndarray) -> np.ndarray:
    """Where the shadows f64[n 3] of points below a lamp fall on the floor."""
    height = np.maximum(points[:, 2:], 0)
    reach = lamp[2] / (lamp[2] - height)
    shadow = lamp + (points - lamp) * reach
    shadow[:, 2] = 0
    return shadow
