"""Steps compiled ahead of time for devices of this machine, or for cards that it does not have.

XLA compiles for a card by its description; the plugin of the extra cuda12 or cuda13 is all that it takes, no driver.
Autotuning, which would have to run on the card, is off: libraries are chosen, not their fastest algorithms, and what
cuDNN takes for itself while it runs is not known.
"""

import contextlib
import glob
import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding

from data_pipelines.command_line import first_line
from experiments.config import TrainConfig, longest_clip
from experiments.measuring.cards import Card, description
from experiments.training import steps
from oddn_jax.compilation import compiling_for

WITHOUT_CARD = {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False}


def do_not_look_for_a_driver() -> None:
    """Lets JAX run on the CPU where no card is, so that its CUDA plugin does not ask for one; before it is used at all.

    The plugin is registered all the same, which is what compiling for a card needs.
    """
    if not glob.glob("/dev/nvidia[0-9]*") and not os.environ.get("JAX_PLATFORMS"):
        jax.config.update("jax_platforms", "cpu")


def absent_devices(card: Card, num_devices: int) -> list[jax.Device]:
    """Devices to compile for, of a host with several cards of a kind, that need not be here.

    Raises:
        OSError: the plugin is not installed.
    """
    try:
        found = topologies.get_topology_desc(
            platform="cuda",
            topology_name="",
            target_config=description(card),
            topology=f"1x1x{num_devices}",
        )
    except NotImplementedError as error:
        raise OSError(
            "compiling for a card needs JAX's CUDA plugin, but neither a card nor a driver: install the extra cuda12 "
            'or cuda13, as in pip install -e ".[train,data,cuda12]"'
        ) from error
    except jax.errors.JaxRuntimeError as error:
        raise OSError(
            f"JAX's CUDA plugin does not compile for cards that are not here: {first_line(error)}"
        ) from error
    return list(found.devices)


def mesh_of(devices: list[jax.Device]) -> Mesh:
    """The devices along the axis of `steps.make_mesh`."""
    return Mesh(np.array(devices), ("data",), axis_types=(jax.sharding.AxisType.Auto,))


def training_inputs(
    config: TrainConfig, mesh: Mesh
) -> tuple[Any, jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
    """State, video and example ids of a training step with the longest clips, as shapes on the mesh."""
    size = (config.model.image_height, config.model.image_width, 3)
    video = jax.ShapeDtypeStruct((config.batch_size, longest_clip(config), *size), jnp.float32)
    ids = jax.ShapeDtypeStruct((config.batch_size,), jnp.uint32)
    state = jax.eval_shape(lambda: steps.initial_state(config, steps.make_optimizer(config)))
    return on_mesh(state, mesh, steps.REPLICATED), *on_mesh((video, ids), mesh, steps.SHARDED)


def on_mesh(shapes: Any, mesh: Mesh, spec: jax.sharding.PartitionSpec) -> Any:
    """The same shapes, on the devices of a mesh."""
    sharding = NamedSharding(mesh, spec)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes)


def compile_training_step(config: TrainConfig, mesh: Mesh) -> jax.stages.Compiled:
    """The step that `fit` runs, for the longest clips of the curriculum."""
    return compile_for(lambda: make_training_step(config, mesh), training_inputs(config, mesh), mesh)


def make_training_step(config: TrainConfig, mesh: Mesh) -> Callable:
    """The step that `fit` runs."""
    return steps.make_train_step(config, steps.make_optimizer(config), mesh)


def compile_evaluation_step(config: TrainConfig, mesh: Mesh) -> jax.stages.Compiled:
    """The step that validates, for the longest clips of the curriculum."""
    state, video, ids = training_inputs(config, mesh)
    return compile_for(lambda: steps.make_eval_step(config, mesh), (state.params, video, ids), mesh)


def compile_for(make: Callable[[], Callable], inputs: tuple[Any, ...], mesh: Mesh) -> jax.stages.Compiled:
    """Makes a jitted function, traces and compiles it, as on the mesh's kind of device; its inputs are on the mesh."""
    device = mesh.devices.flat[0]
    is_here = device in jax.devices()
    # The devices of a description call themselves "gpu", where JAX's rules for cards are those of "cuda".
    platforms = None if is_here else ("cuda",)
    with compiling_for(device.platform):
        lowered = make().trace(*inputs).lower(lowering_platforms=platforms)
    if is_here:
        return lowered.compile()
    with _not_kept():
        return lowered.compile(compiler_options=WITHOUT_CARD)


@contextlib.contextmanager
def _not_kept() -> Iterator[None]:
    """JAX's cache takes programs for cards that are not here, and cannot read them again without such a card."""
    option = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, option)
    jax.config.update(option, float("inf"))
    try:
        yield
    finally:
        jax.config.update(option, before)
