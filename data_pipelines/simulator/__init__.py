"""A simulator of CLEVRER's scenes and of block towers: MuJoCo for motion, compiled ray casting for pictures.

    from data_pipelines.simulator import CLEVRER, simulate_video
    video = simulate_video(CLEVRER, seed=0, height=64, width=64, stride=4).video

Everything is a pure function of its arguments: with the same package versions on the same kind of machine,
the same seed gives the same bytes.
"""

import importlib

from data_pipelines.simulator.config import (
    CLEVRER,
    QUICKSTART,
    QUICKSTART_LONG,
    SIX_OBJECTS,
    TOWERS,
    SceneConfig,
    TowerConfig,
    simulator_card,
    video_seed,
)
from data_pipelines.simulator.records import (
    Collision,
    SceneObject,
    SimulatedStates,
    SimulatedTower,
    SimulatedVideo,
    Trajectory,
)

# These need MuJoCo, which a program that only reads data does not have to load.
_NEEDS_MUJOCO = {
    "generate_scene": "videos",
    "generate_tower": "towers",
    "simulate_states": "videos",
    "simulate_tower": "towers",
    "simulate_video": "videos",
}

__all__ = [
    "CLEVRER",
    "QUICKSTART",
    "QUICKSTART_LONG",
    "SIX_OBJECTS",
    "TOWERS",
    "Collision",
    "SceneConfig",
    "SceneObject",
    "SimulatedStates",
    "SimulatedTower",
    "SimulatedVideo",
    "TowerConfig",
    "Trajectory",
    "generate_scene",
    "generate_tower",
    "simulate_states",
    "simulate_tower",
    "simulate_video",
    "simulator_card",
    "video_seed",
]


def __getattr__(name: str):
    if name not in _NEEDS_MUJOCO:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_NEEDS_MUJOCO[name]}"), name)
