"""Every system compiles for a card that is not here, into the program that it should be.

Needs JAX's CUDA plugin (extra cuda12 or cuda13), neither a card nor a driver: `python -m pytest -m gpu_compile`.
"""

import dataclasses
import functools
import importlib.util
import re

import jax
import jax.numpy as jnp
import pytest

import oddn_jax
from experiments.config import VQAConfig, longest_clip, make_model
from experiments.configs import clevrer
from experiments.measuring import ahead_of_time
from experiments.measuring.ahead_of_time import absent_devices, compile_for, mesh_of, on_mesh
from experiments.measuring.cards import CARDS
from experiments.measuring.cost import count_flops
from experiments.measuring.kernels import kernels
from experiments.measuring.memory import needs
from experiments.training import steps
from experiments.vqa import readings
from experiments.vqa.needs import QUESTIONS
from oddn_jax.compilation import compiling_for
from oddn_jax.reasoning import ALOEConfig
from tests.experiments import tiny

HAS_PLUGIN = any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))
pytestmark = [
    pytest.mark.gpu_compile,
    pytest.mark.skipif(not HAS_PLUGIN, reason="JAX's CUDA plugin is not installed"),
]
if HAS_PLUGIN:
    ahead_of_time.do_not_look_for_a_driver()

SYSTEMS = sorted(oddn_jax.MODELS)
NUM_REFINEMENTS = 3
# On a card of the paper's kind, what JAX takes of it by default.
SHARE = CARDS["rtx3090"].share


def small(system: str, compute_dtype: str = "float32"):
    """A tiny model, whose loops have several rounds, and a batch for eight devices."""
    config = tiny.get_config(system)
    changes = {"compute_dtype": compute_dtype}
    if hasattr(config.model, "num_refinement_steps"):
        changes |= {"num_refinement_steps": NUM_REFINEMENTS + 1, "unroll": 0, "features": "random"}
    config.model = dataclasses.replace(config.model, **changes)
    if system == "PROVIDE":
        config.curriculum = ((1.0, 5),)  # two frames are decoded in other ways; the loop is over the others
    config.batch_size = config.num_valid_clips = 16
    return config


@functools.cache
def mesh(num_devices: int):
    return mesh_of(absent_devices(CARDS["rtx3090"], num_devices))


@functools.cache
def compiled(system: str, num_devices: int, kind: str = "training", compute_dtype: str = "float32"):
    config = small(system, compute_dtype)
    compile_step = {
        "training": ahead_of_time.compile_training_step,
        "evaluation": ahead_of_time.compile_evaluation_step,
    }[kind]
    return compile_step(config, mesh(num_devices))


def check_program(text: str) -> None:
    """What is true of every step: the host has no part in it, and nothing is computed in float64."""
    assert not re.search(r"callback|infeed|outfeed| send\(| recv\(", text)
    assert "f64[" not in text


def count_all_reduces(text: str) -> int:
    return len(re.findall(r" all-reduce(?:-start)?\(", text))


def rounds(text: str) -> list[int]:
    return [int(number) for number in re.findall(r'"known_trip_count":\{"n":"(\d+)"\}', text)]


@pytest.mark.parametrize("num_devices", [1, 8])
@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_s_training_compiles(system, num_devices):
    text = compiled(system, num_devices).as_text()
    check_program(text)
    found = count_all_reduces(text)
    if num_devices == 1:
        assert found == 0
    elif system == "SRVP":
        assert found > 1  # batch normalisation: statistics are those of the whole batch
    else:
        assert found == 1  # gradients, metrics and, of PROVIDE, the loss that moves its weights, together


@pytest.mark.parametrize("num_devices", [1, 8])
@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_s_evaluation_compiles(system, num_devices):
    text = compiled(system, num_devices, "evaluation").as_text()
    check_program(text)
    assert count_all_reduces(text) == (num_devices > 1)


@pytest.mark.parametrize("system", ["IODINE", "IODINELinear", "ODDN"])
def test_the_refinements_are_a_loop_in_both_directions(system):
    text = compiled(system, 1).as_text()
    assert rounds(text).count(NUM_REFINEMENTS) == 2
    # Its kernels, counted in every round, do what the formulas say, recomputation included.
    config = small(system)
    with compiling_for("gpu"):
        step = steps.make_train_step(config, steps.make_optimizer(config), mesh(1))
        counted = count_flops(step, *ahead_of_time.training_inputs(config, mesh(1)))
    assert sum(kernel.count * kernel.flops for kernel in kernels(text)) == pytest.approx(counted, rel=0.05)


def test_tracked_frames_are_a_loop_in_both_directions():
    config = small("ODDN")
    config.model = dataclasses.replace(config.model, num_tracking_steps=NUM_REFINEMENTS)
    config.curriculum = ((1.0, 6),)
    text = ahead_of_time.compile_training_step(config, mesh(1)).as_text()
    check_program(text)
    # Of the first frame's refinements, of the other frames, and of each one's refinements.
    assert [rounds(text).count(n) for n in (NUM_REFINEMENTS, 5, NUM_REFINEMENTS - 1)] == [2, 2, 2]


@pytest.mark.parametrize("system, loops", [("MONet", 2), ("PROVIDE", 2)])
def test_other_loops_stay_loops(system, loops):
    assert len(rounds(compiled(system, 1).as_text())) >= loops


@pytest.mark.parametrize("system", SYSTEMS)
def test_with_bfloat16_convolutions_are_in_bfloat16(system):
    text = compiled(system, 1, compute_dtype="bfloat16").as_text()
    check_program(text)
    flops = {"bf16": 0.0, "f32": 0.0}
    for kernel in kernels(text):
        if kernel.kind == "convolution":
            flops[kernel.dtype] += kernel.count * kernel.flops
    # What slots have in common, the coordinates, is convolved once for all of them, in float32.
    assert flops["bf16"] > 0 and flops["f32"] < 0.01 * flops["bf16"]


REASONER = VQAConfig(
    model=ALOEConfig(feature_size=4, num_slots=2, num_frames=3, num_layers=2, num_heads=2, head_size=8),
    num_frames=3,
    frame_stride=2,
    batch_size=32,
)


@pytest.mark.parametrize("num_devices", [1, 8])
def test_the_reasoner_s_training_compiles(num_devices):
    on = mesh(num_devices)
    step = compile_for(lambda: QUESTIONS.make_step(REASONER, on), QUESTIONS.inputs(REASONER, on), on)
    check_program(step.as_text())
    assert count_all_reduces(step.as_text()) >= (num_devices > 1)


@pytest.mark.parametrize("kind", ["answer", "judge"])
def test_the_reasoner_s_evaluation_compiles(kind):
    """One device reads them, however many there are."""
    state, batch = QUESTIONS.inputs(REASONER, mesh(1))
    part = next(part for part in batch if bool(part.choice_words.shape[1]) == (kind == "judge"))
    inputs = (state.params, part.videos, part.words)
    if kind == "judge":
        one_choice = part.choice_words.update(shape=(part.choice_words.shape[0], part.choice_words.shape[2]))
        inputs = (state.params, part.videos, part.is_predictive, part.words, one_choice)
    read = dict(zip(("answer", "judge"), readings.make_readings(REASONER)))[kind]
    check_program(compile_for(lambda: read, inputs, mesh(1)).as_text())


def test_serialised_functions_run_on_cards_too(as_installed):
    config = small("ODDN")
    model = make_model(config)
    params = jax.jit(model.initialize)(jax.random.key(0))
    video = jax.ShapeDtypeStruct((2, 3, 16, 16, 3), jnp.float32)
    latents = jax.ShapeDtypeStruct((2, 3, config.model.num_slots, config.model.latent_size), jnp.float32)
    inputs = {
        "infer": (video, jax.ShapeDtypeStruct((), jnp.uint32)),
        "distill": (latents,),
        "rollout": (latents,),
    }
    contents = oddn_jax.serialize_functions(model, params)
    assert contents.keys() == inputs.keys()
    for name, content in contents.items():
        exported = jax.export.deserialize(bytearray(content))
        assert "cuda" in exported.platforms
        given = on_mesh(inputs[name], mesh(1), steps.REPLICATED)
        run = jax.jit(exported.call)
        check_program(compile_for(lambda run=run: run, given, mesh(1)).as_text())


@pytest.mark.parametrize(
    "num_devices, batch_size, compute_dtype, gib",
    [
        (1, 12, "float32", 9.2),
        (1, 12, "bfloat16", 4.9),
        (8, 16, "float32", 1.6),
    ],
)
def test_the_paper_s_batch_fits_its_card_without_a_word(num_devices, batch_size, compute_dtype, gib):
    """What is measured (docs/speed_and_memory.md) may grow by a tenth."""
    config = clevrer.get_config("prediction")
    config.batch_size, config.model.compute_dtype = batch_size, compute_dtype
    assert config.model.remat == "auto" and longest_clip(config) == 8
    step = ahead_of_time.compile_training_step(config, mesh(num_devices))
    check_program(step.as_text())
    inputs = ahead_of_time.training_inputs(config, mesh(num_devices))
    total = needs(inputs, mesh(num_devices), step)["total"]
    assert total < 1.1 * gib * 2**30 < SHARE
