"""What the simulator may put into a scene, and which scenes it keeps."""

import dataclasses
import hashlib
import importlib.metadata
import json

from data_pipelines.seeds import LARGEST_SEED, check_seed

SHAPES = ("cube", "sphere", "cylinder")
MATERIALS = ("rubber", "metal")
# Source: the colour table of the CLEVR data set generator, sRGB.
COLORS = {
    "gray": (87, 87, 87),
    "red": (173, 35, 35),
    "blue": (42, 75, 215),
    "green": (29, 105, 20),
    "brown": (129, 74, 25),
    "purple": (129, 38, 192),
    "cyan": (41, 208, 208),
    "yellow": (255, 238, 51),
}
HALF_SIZE = 0.2  # of every object, world units; CLEVRER's annotated heights are 0.2
FRAMES_PER_SECOND = 25
CLEVRER_ASPECT_RATIO = 1.5  # 480 x 320
SIMULATOR_VERSION = "2.0.0"  # raise it whenever the same seed gives other scenes or other pictures

Range = tuple[float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SceneConfig:
    """How scenes are sampled; the defaults are CLEVRER's family of scenes.

    Lengths are world units, angles degrees, speeds world units per second, times source frames.

    Source: our choice, tuned so that counts of objects, collisions and objects in view come near the public
    statistics of CLEVRER's annotations.
    """

    num_objects: tuple[int, ...] = (4, 5, 6)
    num_objects_probability: tuple[float, ...] = (0.4, 0.4, 0.2)
    shapes: tuple[str, ...] = SHAPES
    materials: tuple[str, ...] = MATERIALS
    colors: tuple[str, ...] = tuple(COLORS)

    num_frames: int = 128
    num_unseen_frames: int = 52  # simulated after the video ends: what will happen next

    camera_distance: float = 4.7
    camera_elevation: float = 27.0
    camera_target: tuple[float, float, float] = (0.0, 0.0, 0.1)
    camera_field_of_view: float = 49.1  # horizontal, of a 3:2 picture: CLEVR's 35 mm lens
    camera_jitter: float = 0.15  # uniform, per axis and video

    # "outside": some objects rest in the picture, the others are launched into it from beyond its border.
    # "inside": all are in the picture from the first frame, and the moving ones are pushed then.
    start: str = "outside"
    floor_friction: float = 0.07  # sliding
    resting_area: tuple[Range, Range] = ((-1.7, 1.7), (-1.6, 1.6))  # x, y
    minimum_spacing: float = 0.75
    aim_probability: float = 0.65  # of heading for another object
    speed: Range = (0.6, 1.8)  # left on reaching the target ("outside"), at launch ("inside")

    # "outside" only.
    target_area: tuple[Range, Range] = ((-1.0, 1.2), (-1.0, 1.0))  # when not heading for an object
    aim_noise: float = 0.08  # standard deviation
    launch_at_start_probability: float = 0.35
    launch_frames: tuple[int, int] = (1, 56)  # otherwise; the end is exclusive
    late_launch_probability: float = 0.8  # of the last object being launched late: unseen collisions
    late_launch_frames: tuple[int, int] = (88, 116)

    # "inside" only.
    moving_probability: float = 0.6  # of each object but the first, which always moves

    # Which scenes are kept.
    num_collisions: tuple[int, int] = (2, 4)  # in view, both ends inclusive
    distinct_collision_pairs: bool = True
    unseen_collision_probability: float | None = 0.72  # share of scenes with a new collision after the end
    all_in_view_frames: int = 0  # least length of the first run of frames with every object in view
    accepted_aspect_ratio: float = CLEVRER_ASPECT_RATIO  # of the picture that "in view" means here
    accepted_margin: float = 0.35  # in half-sizes: how far outside the picture a centre in view may be
    max_tries: int = 400

    def __post_init__(self):
        if len(self.num_objects) != len(self.num_objects_probability):
            raise ValueError("num_objects and num_objects_probability must have one entry per object count")
        if not self.num_objects or min(self.num_objects) < 2:
            raise ValueError(f"a scene needs at least 2 objects; num_objects is {self.num_objects}")
        if abs(sum(self.num_objects_probability) - 1) > 1e-6:
            raise ValueError(f"num_objects_probability must sum to 1; it is {self.num_objects_probability}")
        for field, known in (("shapes", SHAPES), ("materials", MATERIALS), ("colors", COLORS)):
            unknown = set(getattr(self, field)) - set(known)
            if unknown or not getattr(self, field):
                raise ValueError(f"{field} must be among {', '.join(known)}; got {getattr(self, field)}")
        if max(self.num_objects) > len(self.shapes) * len(self.materials) * len(self.colors):
            raise ValueError("too few shapes, materials and colors for num_objects different objects")
        if self.num_frames < 1 or self.num_unseen_frames < 0 or self.max_tries < 1:
            raise ValueError("num_frames and max_tries must be at least 1, num_unseen_frames at least 0")
        if self.start not in ("outside", "inside"):
            raise ValueError(f'start must be "outside" or "inside", not {self.start!r}')


CLEVRER = SceneConfig()

# Six objects at once in the central square of the picture, long enough for clips of 10 frames at stride 4
# wherever the stored frames begin, with a collision meanwhile.
# Source: Section 4 (1,000 test clips of 10 frames with 6 objects); the sampler is our choice, because
# CLEVRER's own scenes seldom show six objects for that long.
SIX_OBJECTS = SceneConfig(
    num_objects=(6,),
    num_objects_probability=(1.0,),
    num_unseen_frames=0,
    late_launch_probability=0.0,
    num_collisions=(1, 99),
    distinct_collision_pairs=False,
    unseen_collision_probability=None,
    all_in_view_frames=44,
    accepted_aspect_ratio=1.0,
)

# Two or three large, saturated objects that never leave a square picture, for runs of a few minutes on a CPU.
# 37 source frames are 10 stored frames at stride 4. Source: our choice.
QUICKSTART = SceneConfig(
    num_objects=(2, 3),
    num_objects_probability=(0.5, 0.5),
    colors=("red", "blue", "green", "purple", "cyan", "yellow"),
    num_frames=37,
    num_unseen_frames=0,
    camera_distance=2.8,
    camera_elevation=40.0,
    camera_jitter=0.05,
    start="inside",
    floor_friction=0.02,  # so that they do not stop at once
    resting_area=((-0.8, 0.8), (-0.6, 0.6)),
    minimum_spacing=0.5,
    aim_probability=0.8,
    speed=(0.8, 1.5),
    num_collisions=(0, 99),
    distinct_collision_pairs=False,
    unseen_collision_probability=None,
    all_in_view_frames=37,
    accepted_aspect_ratio=1.0,
    accepted_margin=-0.7,
)

# The same for 14 stored frames: two to observe and twelve to predict. Source: our choice.
QUICKSTART_LONG = dataclasses.replace(QUICKSTART, num_frames=53, all_in_view_frames=53)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TowerConfig:
    """How towers of blocks are sampled; units as in SceneConfig.

    Source: our choice, a stand-in for the real block towers of Lerer, Gross and Fergus (2016): 2 to 4 cubes in those
    four colours, about half of the towers fall.
    """

    num_blocks: tuple[int, ...] = (2, 3, 4)
    colors: tuple[str, ...] = ("red", "yellow", "green", "blue")
    num_frames: int = 64
    camera_distance: float = 4.9
    camera_elevation: float = 16.0
    camera_target: tuple[float, float, float] = (0.0, 0.0, 0.62)
    camera_field_of_view: float = 49.1
    camera_jitter: float = 0.1
    largest_offset: Range = (0.2, 1.5)  # of a block from the one below, in half-sizes; drawn once per tower
    offset_scale: tuple[float, float] = (0.6, 1.0)  # x, y: sideways leaning shows best
    yaw_spread: float = 0.35  # radians around the tower's own yaw
    fall_probability: float = 0.5
    floor_radius: float = 1.6  # of a square in which every block must stay
    max_tries: int = 1000


TOWERS = TowerConfig()


def simulator_card(config: SceneConfig | TowerConfig, **options: object) -> dict:
    """What made some data, from which config, and with which further JSON-able `options` (seed, size ...).

    Two data sets with equal cards and indices have equal bytes on one kind of machine.
    """
    as_dict = json.loads(json.dumps(dataclasses.asdict(config)))
    text = json.dumps(as_dict, sort_keys=True)
    return {
        "simulator": SIMULATOR_VERSION,
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("av", "mujoco-core", "numba", "numpy", "pillow")
        },
        "config": as_dict,
        "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "options": json.loads(json.dumps(options)),
    }


MOST_VIDEOS = 1_000_000  # of a data set


def video_seed(seed: int, index: int) -> int:
    """The seed of one video of a data set: the same whatever else is generated, and by whom.

    Raises:
        ValueError: the data set's seed is out of range.
    """
    check_seed("seed", seed)
    return seed * MOST_VIDEOS + index


LARGEST_VIDEO_SEED = video_seed(LARGEST_SEED, MOST_VIDEOS - 1)
