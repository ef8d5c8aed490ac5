"""Closed forms against MuJoCo's rays, and the compiler's cache."""

import os
import subprocess
import sys
from pathlib import Path

import mujoco
import numba
import numpy as np
import pytest

from data_pipelines.simulator.compiled import compiler, rays
from data_pipelines.simulator.config import HALF_SIZE
from data_pipelines.simulator.physics import build_model
from data_pipelines.simulator.scenes import clevrer_physics


@numba.njit(error_model="numpy")
def cast(bodies, i, origin, directions, distances, normals):
    """First hits of rays f64[p 3] with body i; -1 where there is none."""
    ox, oy, oz = rays.seen_from(bodies, i, origin[0], origin[1], origin[2])
    shape, half_size = bodies[i, rays.SHAPE], bodies[i, rays.HALF_SIZE]
    for p in range(len(directions)):
        dx, dy, dz = rays.to_body(bodies, i, directions[p, 0], directions[p, 1], directions[p, 2])
        way, face = rays.enter(shape, half_size, ox, oy, oz, dx, dy, dz)
        distances[p] = way if 0 < way < np.inf else -1
        x, y, z = rays.normal(bodies, i, face, ox + way * dx, oy + way * dy, oz + way * dz)
        normals[p, 0], normals[p, 1], normals[p, 2] = x, y, z


def mujoco_rays(model, data, geom, origin, directions):
    geoms, distances = np.empty(len(directions), np.int32), np.empty(len(directions))
    normals = np.empty_like(directions)
    flat = directions.ravel(), None, True, -1, geoms, distances, normals.reshape(-1)
    mujoco.mj_multiRay(model, data, origin, *flat, len(directions), mujoco.mjMAXVAL)
    return np.where(geoms == geom, distances, -1), normals


@pytest.mark.parametrize("name", ["cube", "sphere", "cylinder"])
def test_closed_forms_are_mujocos_rays(name):
    generator = np.random.default_rng(0)
    model = build_model([name], clevrer_physics(0.07))
    data = mujoco.MjData(model)
    bodies = np.zeros((1, rays.BODY_COLUMNS))
    bodies[:, rays.SHAPE] = ("cube", "sphere", "cylinder").index(name)
    bodies[:, rays.HALF_SIZE] = HALF_SIZE
    hits, faces = 0, set()
    for pose in range(40):
        quaternion = generator.normal(size=4) if pose else np.array([1.0, 0, 0, 0])
        data.qpos[:] = [*generator.uniform(-2, 2, 2), generator.uniform(1, 3), *quaternion]
        mujoco.mj_kinematics(model, data)
        bodies[0, : rays.Z + 1] = data.geom_xpos[1]
        bodies[0, rays.ROTATION :] = data.geom_xmat[1]
        origin = data.geom_xpos[1] + generator.normal(size=3) + [0, 0, 4]
        directions = data.geom_xpos[1] + generator.uniform(-0.4, 0.4, (500, 3)) - origin
        # Along the axes of the body too: rays that are parallel to faces.
        directions[:3] = data.geom_xmat[1].reshape(3, 3).T
        directions *= generator.uniform(0.5, 2, (500, 1))
        expected, expected_normals = mujoco_rays(model, data, 1, origin, directions)
        distances, normals = np.empty(500), np.empty((500, 3))
        cast(bodies, 0, origin, directions, distances, normals)
        assert ((distances > 0) == (expected > 0)).all()
        hit = expected > 0
        np.testing.assert_allclose(distances[hit], expected[hit], rtol=1e-6)
        np.testing.assert_allclose(normals[hit], expected_normals[hit], rtol=1e-6, atol=1e-6)
        hits += hit.sum()
        local = np.abs(normals[hit] @ data.geom_xmat[1].reshape(3, 3))
        faces |= set(np.where(local.max(1) > 1 - 1e-9, local.argmax(1), 3))
    assert 4_000 < hits < 19_000
    assert faces >= {"cube": {0, 1, 2}, "sphere": {3}, "cylinder": {2, 3}}[name]


PROGRAM = """
import resource, sys
sys.path.insert(0, sys.argv[1])
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # a full disk
from compiled import main
print(main.value(1.0))
"""
MAIN = """
from compiled import compiler, part

def _programs(digest):
    @compiler.kept
    def value(x):
        len(digest)
        return part.plus(x)
    return value

value = _programs(compiler.digest())
"""
PART = """
from compiled.compiler import helper

@helper
def plus(x):
    return x + {}
"""


def run_small_program(folder: Path, *arguments: str, **environment: str) -> float:
    command = [sys.executable, "-c", PROGRAM, str(folder), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    assert result.returncode == 0, result.stderr
    return float(result.stdout)


def test_what_is_kept_follows_its_helpers_and_is_done_without_where_it_fails(tmp_path):
    package = tmp_path / "compiled"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "compiler.py").write_text(Path(compiler.__file__).read_text())
    (package / "main.py").write_text(MAIN)
    (package / "part.py").write_text(PART.format(1))
    assert run_small_program(tmp_path) == 2
    (kept,) = package.rglob("*.nbc")
    before = kept.stat().st_mtime_ns
    assert run_small_program(tmp_path) == 2 and kept.stat().st_mtime_ns == before  # taken, not compiled
    (package / "part.py").write_text(PART.format(2))
    assert run_small_program(tmp_path) == 3
    for file in package.rglob("*.nb[ic]"):
        file.write_bytes(b"damaged")
    assert run_small_program(tmp_path) == 3
    for file in package.rglob("*.nb[ic]"):
        file.unlink()
    assert run_small_program(tmp_path, "full disk") == 3 and not list(package.rglob("*.nbc"))
    nowhere = tmp_path / "a file"
    nowhere.touch()
    assert run_small_program(tmp_path, NUMBA_CACHE_DIR=str(nowhere)) == 3
