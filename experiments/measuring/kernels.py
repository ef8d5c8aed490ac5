"""What a compiled step runs on a card: its kernels, with their operations and the bytes that they move.

XLA gives no such costs of a program that it has compiled for a card which is not there. They are read from the text of
that program: every fusion, product and convolution with its shapes, and every loop with the number of its rounds.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

FREE = frozenset(
    "parameter constant tuple get-tuple-element bitcast after-all partition-id replica-id opt-barrier iota".split()
)
CONVOLUTIONS = {"__cudnn$convForward", "__cudnn$convBiasActivationForward"}
INPUT_GRADIENT, KERNEL_GRADIENT = "__cudnn$convBackwardInput", "__cudnn$convBackwardFilter"
PRODUCTS = {"__cublas$lt$matmul", "__cublas$gemm"}
BYTES = {"pred": 1, "bf16": 2, "f16": 2, "c64": 8, "c128": 16, "token": 0}


class Kernel(NamedTuple):
    """One kernel, or library call, and how often a step runs it."""

    name: str
    kind: str  # "convolution", "product", "all-reduce", or the operation's own name
    dtype: str  # of the first input
    flops: float  # of its products alone; a multiplication and an addition are two
    bytes: float  # read and written
    count: int = 1


class Instruction(NamedTuple):
    """A line of the program."""

    name: str
    shape: str  # of the result, as text
    operation: str
    operands: tuple[str, ...]
    attributes: str
    is_root: bool


Computations = Mapping[str, Mapping[str, Instruction]]


def kernels(text: str) -> list[Kernel]:
    """The kernels of a step.

    Args:
        text: of `jax.stages.Compiled.as_text`.

    Raises:
        ValueError: it has a loop whose rounds XLA does not know.
    """
    computations, entry = parse(text)
    return list(_kernels(computations, entry))


def parse(text: str) -> tuple[Computations, str]:
    """All computations of a program, each its instructions, by name; and the name of the one that runs first."""
    computations: dict[str, dict[str, Instruction]] = {}
    entry, inside = "", {}
    for line in text.splitlines():
        if header := re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line):
            inside = computations.setdefault(header[2], {})
            entry = header[2] if header[1] else entry
        elif found := re.match(r"\s+(ROOT )?%?([\w.\-]+) = (.*)$", line):
            shape, rest = _split_shape(found[3])
            operation, _, rest = rest.partition("(")
            end = _closing(rest)
            operands = tuple(re.findall(r"%([\w.\-]+)", rest[:end]))
            one = Instruction(found[2], shape, operation, operands, rest[end + 1 :], bool(found[1]))
            inside[one.name] = one
    return computations, entry


def _split_shape(text: str) -> tuple[str, str]:
    if not text.startswith("("):
        shape, _, rest = text.partition(" ")
        return shape, rest
    end = _closing(text[1:]) + 2
    return text[:end], text[end:].lstrip()


def _closing(text: str) -> int:
    """Where the bracket closes that was open before the text."""
    depth = 1
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return place
    raise ValueError(f"this program cannot be read: {text[:60]!r} never closes")


def arrays(shape: str) -> list[tuple[str, tuple[int, ...]]]:
    """Types and sizes of the arrays of a shape: [("f32", (2, 3))] of "f32[2,3]{1,0}"."""
    found = re.findall(r"([a-z]\w*)\[([\d,]*)\]", shape)
    return [(dtype, tuple(int(size) for size in sizes.split(",") if size)) for dtype, sizes in found]


def num_bytes(shape: str) -> int:
    """Bytes of all arrays of a shape."""
    return sum(_width(dtype) * math.prod(sizes) for dtype, sizes in arrays(shape))


def _width(dtype: str) -> int:
    if dtype in BYTES:
        return BYTES[dtype]
    return max(int(re.search(r"\d+", dtype)[0]) // 8, 1)


def _kernels(computations: Computations, name: str) -> Iterator[Kernel]:
    inside = computations[name]
    for one in inside.values():
        called = _called(one)
        if one.operation in FREE or one.operation.endswith("-done"):
            continue
        if one.operation == "while":
            rounds = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', one.attributes)
            if rounds is None:
                raise ValueError(f"the rounds of the loop {one.name} are not known")
            for kernel in _kernels(computations, called["body"]):
                yield kernel._replace(count=kernel.count * int(rounds[1]))
        elif one.operation in ("call", "async-start", "conditional"):
            for body in called.values():
                yield from _kernels(computations, body)
        else:
            yield _kernel(computations, inside, one, called)


def _called(one: Instruction) -> dict[str, str]:
    return dict(
        re.findall(r"(calls|body|to_apply|true_computation|false_computation)=%?([\w.\-]+)", one.attributes)
    )


def _kernel(
    computations: Computations, inside: Mapping[str, Instruction], one: Instruction, called: Mapping[str, str]
) -> Kernel:
    inputs = [inside[operand].shape for operand in one.operands if operand in inside]
    dtype = arrays(inputs[0])[0][0] if inputs and arrays(inputs[0]) else ""
    moved = sum(map(num_bytes, inputs)) + num_bytes(one.shape)
    target = re.search(r'custom_call_target="([^"]*)"', one.attributes)
    if target and target[1] in CONVOLUTIONS | {INPUT_GRADIENT, KERNEL_GRADIENT}:
        result = _first(one.shape)  # what follows it is the library's own memory
        flops = _convolution_flops(one.attributes, target[1], inputs, result)
        return Kernel(one.name, "convolution", dtype, flops, sum(map(num_bytes, inputs)) + num_bytes(result))
    if target and target[1] in PRODUCTS:
        result = _first(one.shape)
        contracted = re.search(r'"lhs_contracting_dimensions":\[([^\]]*)\]', one.attributes)[1]
        sizes = arrays(inputs[0])[0][1]
        depth = math.prod(sizes[int(axis)] for axis in re.findall(r"\d+", contracted))
        flops = 2.0 * math.prod(arrays(result)[0][1]) * depth
        return Kernel(one.name, "product", dtype, flops, sum(map(num_bytes, inputs)) + num_bytes(result))
    if one.operation == "fusion":
        body = computations[called["calls"]]
        moved = _fusion_bytes(body)
        flops = sum(_dot_flops(body, inner) for inner in body.values() if inner.operation == "dot")
        return Kernel(one.name, "product" if flops else "fusion", dtype, flops, moved)
    if one.operation.startswith("all-reduce"):
        return Kernel(one.name, "all-reduce", dtype, 0.0, moved)
    return Kernel(one.name, one.operation, dtype, 0.0, moved)


def _first(shape: str) -> str:
    return shape if not shape.startswith("(") else re.match(r"\(([a-z]\w*\[[\d,]*\])", shape)[1]


def _convolution_flops(attributes: str, target: str, inputs: list[str], result: str) -> float:
    """As `cost.count_flops` has it: the result's elements, times those of the kernel that make one."""
    _, kernel_axes, _ = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", attributes).groups()
    first, second = (arrays(shape)[0][1] for shape in inputs[:2])
    out = arrays(result)[0][1]
    # Of the convolution whose gradient it may be: its output, and its kernel.
    output, kernel = {INPUT_GRADIENT: (first, second), KERNEL_GRADIENT: (second, out)}.get(
        target, (out, second)
    )
    return 2.0 * math.prod(output) * math.prod(kernel) / kernel[kernel_axes.index("o")]


def _dot_flops(body: Mapping[str, Instruction], one: Instruction) -> float:
    sizes = arrays(body[one.operands[0]].shape)[0][1]
    contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", one.attributes)[1]
    depth = math.prod(sizes[int(axis)] for axis in contracted.split(",") if axis)
    return 2.0 * math.prod(arrays(one.shape)[0][1]) * depth


def _fusion_bytes(body: Mapping[str, Instruction]) -> float:
    """Reads and writes of a fusion: of an array that it takes slices of, or writes one into, these alone."""
    users: dict[str, list[Instruction]] = {name: [] for name in body}
    for one in body.values():
        for operand in one.operands:
            users[operand].append(one)

    def read(name: str) -> float:
        total = 0.0
        for user in users[name]:
            if user.operation == "bitcast":
                total += read(user.name)
            elif user.operation in ("dynamic-slice", "slice", "gather") and user.operands[0] == name:
                total += num_bytes(user.shape)
            elif user.operation != "dynamic-update-slice" or user.operands[0] != name:
                return num_bytes(body[name].shape)
        return min(total, num_bytes(body[name].shape))

    def written(one: Instruction) -> float:
        if one.operation == "tuple":
            return sum(written(body[operand]) for operand in one.operands)
        if one.operation == "bitcast":
            return written(body[one.operands[0]])
        changed = one.operands[1] if one.operation == "dynamic-update-slice" else one.name
        return num_bytes(body[changed].shape)

    (root,) = (one for one in body.values() if one.is_root)
    return written(root) + sum(read(one.name) for one in body.values() if one.operation == "parameter")
