"""What fits a card: needs by the compiler's plan, the largest batch, what a compiled program runs, one line without."""

import importlib.util
import json

import pytest

from experiments import command_line, memory
from experiments.measuring import roofline
from experiments.measuring.cards import CARDS, description
from experiments.measuring.kernels import arrays, kernels, num_bytes
from experiments.measuring.memory import largest_batch
from tests.conftest import ROOT

TINY = str(ROOT / "tests" / "experiments" / "tiny.py")


def run_memory(*arguments, config=TINY):
    argv = ["memory", *arguments]
    with pytest.raises(SystemExit) as end:
        command_line.run(memory.main, config, argv, kind=memory.KINDS, **memory.FLAGS)
    return end.value.code


# Shapes, window and loops as XLA writes them for a card; the numbers below are reckoned by hand.
PROGRAM = """
HloModule jit_step, is_scheduled=true

%fused_slice (param_0: f32[5,8,4], param_1: s32[]) -> f32[8,4] {
  %param_0 = f32[5,8,4]{2,1,0} parameter(0)
  %param_1 = s32[] parameter(1)
  %constant = s32[] constant(0)
  %slice = f32[1,8,4]{2,1,0} dynamic-slice(%param_0, %param_1, %constant, %constant), dynamic_slice_sizes={1,8,4}
  ROOT %bitcast = f32[8,4]{1,0} bitcast(%slice)
}

%fused_update (param_0.1: f32[5,8,4], param_1.1: f32[8,4], param_2.1: s32[]) -> f32[5,8,4] {
  %param_0.1 = f32[5,8,4]{2,1,0} parameter(0)
  %param_1.1 = f32[8,4]{1,0} parameter(1)
  %bitcast.1 = f32[1,8,4]{2,1,0} bitcast(%param_1.1)
  %param_2.1 = s32[] parameter(2)
  %constant.1 = s32[] constant(0)
  ROOT %update = f32[5,8,4]{2,1,0} dynamic-update-slice(%param_0.1, %bitcast.1, %param_2.1, %constant.1, %constant.1)
}

%body (tuple: (s32[], f32[5,8,4])) -> (s32[], f32[5,8,4]) {
  %tuple = (s32[], /*index=1*/f32[5,8,4]{2,1,0}) parameter(0)
  %round = s32[] get-tuple-element(%tuple), index=0
  %stack = f32[5,8,4]{2,1,0} get-tuple-element(%tuple), index=1
  %one = f32[8,4]{1,0} fusion(%stack, %round), kind=kLoop, calls=%fused_slice
  %changed = f32[5,8,4]{2,1,0} fusion(%stack, %one, %round), kind=kLoop, calls=%fused_update
  ROOT %result = (s32[], f32[5,8,4]{2,1,0}) tuple(%round, %changed)
}

%condition (tuple.1: (s32[], f32[5,8,4])) -> pred[] {
  %tuple.1 = (s32[], f32[5,8,4]{2,1,0}) parameter(0)
  ROOT %go_on = pred[] constant(true)
}

ENTRY %main (x: bf16[2,3,16,16], w: bf16[6,3,3,3], a: f32[8,4], s: (s32[], f32[5,8,4])) -> f32[8,8] {
  %x = bf16[2,3,16,16]{3,2,1,0} parameter(0)
  %w = bf16[6,3,3,3]{3,2,1,0} parameter(1)
  %a = f32[8,4]{1,0} parameter(2)
  %s = (s32[], f32[5,8,4]{2,1,0}) parameter(3)
  %f = (bf16[2,6,16,16]{3,2,1,0}, u8[0]{0}) custom-call(%x, %w), LIKE_A_CONVOLUTION$convForward"
  %y = bf16[2,6,16,16]{3,2,1,0} get-tuple-element(%f), index=0
  %i = (bf16[2,3,16,16]{3,2,1,0}, u8[64]{0}) custom-call(%y, %w), LIKE_A_CONVOLUTION$convBackwardInput"
  %k = (bf16[6,3,3,3]{3,2,1,0}, u8[0]{0}) custom-call(%x, %y), LIKE_A_CONVOLUTION$convBackwardFilter"
  %p = (f32[8,8]{1,0}, s8[4194304]{0}) custom-call(%a, %a), LIKE_A_PRODUCT
  %loop = (s32[], f32[5,8,4]{2,1,0}) while(%s), condition=%condition, body=%body, FIVE_TIMES
  %q = f32[8,8]{1,0} get-tuple-element(%p), index=0
  ROOT %sum = f32[8,8]{1,0} all-reduce(%q), replica_groups={{0,1}}, to_apply=%add
}
"""
for short, written in {
    "LIKE_A_CONVOLUTION": 'window={size=3x3 pad=1_1x1_1}, dim_labels=bf01_oi01->bf01, custom_call_target="__cudnn',
    "LIKE_A_PRODUCT": 'custom_call_target="__cublas$lt$matmul", backend_config={"gemm_backend_config":{'
    '"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"],"rhs_contracting_dimensions":["1"]}}}',
    "FIVE_TIMES": 'backend_config={"known_trip_count":{"n":"5"},"known_init_step":{"init":"0","step":"1"}}',
}.items():
    PROGRAM = PROGRAM.replace(short, written)


def test_a_program_s_kernels_are_found_with_what_they_compute_and_move():
    found = {kernel.name: kernel for kernel in kernels(PROGRAM)}
    assert found.keys() == {"f", "i", "k", "p", "one", "changed", "sum"}
    each = 2 * (2 * 16 * 16 * 6) * (3 * 3 * 3)  # a convolution and both its gradients take the same
    assert [found[name].flops for name in "fik"] == [each] * 3 and found["f"].dtype == "bf16"
    picture, features, kernel = 2 * (2 * 3 * 256), 2 * (2 * 6 * 256), 2 * (6 * 27)
    assert {found[name].bytes for name in "fik"} == {picture + features + kernel}
    assert (found["p"].kind, found["p"].flops, found["p"].bytes) == ("product", 2 * 8 * 8 * 4, 2 * 128 + 256)
    # Of the stack of five only the slice is read or written; and the number of the round.
    assert (found["one"].count, found["one"].bytes) == (5, 128 + 128 + 4)
    assert (found["changed"].count, found["changed"].bytes) == (5, 128 + 128 + 4)
    assert found["sum"].kind == "all-reduce"


def test_a_loop_without_an_end_is_said():
    with pytest.raises(ValueError, match="rounds of the loop loop are not known"):
        kernels(PROGRAM.replace("known_trip_count", "other"))


def test_shapes_are_read():
    assert arrays("(f32[2,3]{1,0}, pred[], /*index=2*/u8[0]{0})") == [
        ("f32", (2, 3)),
        ("pred", ()),
        ("u8", (0,)),
    ]
    assert num_bytes("(f32[2,3]{1,0}, bf16[4], f8e4m3fn[3], s4[2])") == 24 + 8 + 3 + 2


def test_the_time_at_best_is_that_of_the_slower_of_operations_and_bytes():
    card = CARDS["h100"]._replace(tensor_float32=1e9, bfloat16=2e9, bandwidth=1e9)
    (convolution, *_, fusion, _) = (
        kernel for kernel in kernels(PROGRAM) if kernel.name in ("f", "i", "k", "one", "sum")
    )
    assert roofline.at_best(convolution, card) == convolution.flops / 2e9 > convolution.bytes / 1e9
    assert roofline.at_best(fusion, card) == fusion.bytes / 1e9


@pytest.mark.parametrize(
    "batch_size, unit, limit, largest",
    [(12, 1, 101, 19), (12, 1, 100, 18), (12, 8, 100, 16), (2, 1, 14.9, 1), (8, 8, 20, 0)],
)
def test_the_largest_batch_is_the_largest_that_fits(batch_size, unit, limit, largest):
    def total(clips):
        return 5 + 5 * clips + (1 if clips > 17 else 0)  # not quite proportional

    found = largest_batch(total, batch_size, total(batch_size), unit, limit)
    assert found == largest and (not found or total(found) <= limit)


@pytest.mark.parametrize("bend", [0.01, -4e-5])
def test_the_largest_batch_is_found_in_a_few_steps_where_needs_are_no_line(bend):
    tried = []

    def total(clips):
        tried.append(clips)
        return 10 + clips + bend * clips**2

    found = largest_batch(total, 4, total(4), 1, 6_000)
    assert total(found) <= 6_000 and len(tried) < 25
    assert bend < 0 or total(found + 1) > 6_000


def test_cards_are_described_in_xla_s_words():
    text = description(CARDS["rtx3090"])
    assert "cuda_compute_capability { major: 8 minor: 6 }" in text and text.count("{") == text.count("}")
    assert "device_memory_size: 25438126080" in text and "NVIDIA GeForce RTX 3090" in text
    assert 17 < CARDS["rtx3090"].share / 2**30 < 18


def test_on_this_machine_the_step_is_run_and_its_peak_told(tmp_path, capsys):
    file = tmp_path / "record.json"
    assert run_memory("--only=none,float32", "--num_devices=1", f"--output={file}") == 0
    (row,) = json.loads(file.read_text())["ways"]
    assert row["optimizer"] == pytest.approx(2 * row["parameters"], rel=0.01)  # Adam's moments
    assert row["total"] >= row["parameters"] + row["optimizer"] + row["batch"] + row["activations"]
    assert row["batch"] == 4 * (3 * 16 * 16 * 3 + 1) * 4
    assert row["fits"] and row["peak"] > row["total"]
    lines = capsys.readouterr().out.splitlines()
    assert "4 clips of 3 frames, 1 x" in lines[0] and lines[2].endswith("peak") and "yes" in lines[3]


def test_a_reasoner_s_step_is_run_on_clevrer_s_mix_of_questions(tmp_path, capsys):
    file = tmp_path / "record.json"
    few = ("--config.model.num_layers=1", "--config.batch_size=32", "--num_devices=1", f"--output={file}")
    config = str(ROOT / "experiments" / "configs" / "clevrer_vqa.py:quickstart")
    assert run_memory("--only=true,float32", *few, config=config) == 0
    (row,) = json.loads(file.read_text())["ways"]
    assert row["recompute"] is True and row["fits"] and row["peak"] > row["total"]
    # Of 32 questions 23 are descriptive, 1 has one choice, 2 have two, 2 three and 5 four; a video is 128 frames of 7
    # slots of 20 numbers. Beside it question and choice words, targets, weight and id, and a byte: is it predictive?
    numbers = {0: 23, 1: 1, 2: 2, 3: 2, 4: 5}
    words = sum(
        number * (20 + choices * (12 + 1) + (choices == 0) + 2) for choices, number in numbers.items()
    )
    assert row["batch"] == 4 * (sum(numbers.values()) * 128 * 7 * 20 + words) + sum(numbers.values())
    lines = capsys.readouterr().out.splitlines()
    assert "ALOE, 32 questions, 1 x" in lines[0] and lines[2].split()[:2] == ["recompute", "dtype"]


@pytest.mark.parametrize(
    "argument, message",
    [
        ("--card=h101", "--card=h101 is not one of h100, h200, a100_40, a100_80, a6000, rtx3090"),
        ("--num_devices=-1", "must be at least 1"),
        ("--num_devices=3", "there are"),
        ("--only=most", "--only=most is not one of 'none,float32'"),
        ("--output=nowhere/x.json", "no folder nowhere"),
        ("--config.batch_size=0", "config.batch_size is 0"),
    ],
)
def test_wrong_use_is_one_line(capsys, argument, message):
    assert run_memory(argument) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_without_the_plugin_one_line_says_what_to_install(capsys):
    if any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13)):
        pytest.skip("JAX's CUDA plugin is installed")
    assert run_memory("--card=a100_40") == 2
    error = capsys.readouterr().err
    assert "extra cuda12 or cuda13" in error and error.count("\n") == 1
