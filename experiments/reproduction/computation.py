"""What Table 4 counts: parameters, size, and the GFLOPs column; and what a whole inference costs.

The column is the estimate of the package torch-scan on one 64x64 picture with seven slots, each module counted at its
first call: one decoding and one refinement, while inference takes five and four. The package counts two operations for
each product of a convolution or dense layer with bias, 6 for each element behind an ELU and 1 behind a ReLU, k - 1 for
each output of a k x k max pooling and k + 1 of an average pooling, k being the window's side, not its area. It knows no
LSTM cell, no layer normalisation and no tanh, sigmoid or softmax: they count nothing.

Source: frgfm/torch-scan, 2020 to 2022; that the paper used it is found by arithmetic: IODINE's and PROVIDE's figures
come out to all printed digits.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from experiments.evaluation import paper
from experiments.measuring.cost import count_flops
from oddn_jax import ODDN, ODDNConfig
from oddn_jax.backbone import Backbone
from oddn_jax.baselines import IODINE, PROVIDE, ProvideConfig
from oddn_jax.decoder import BroadcastConvolution
from oddn_jax.layers import Convolution
from oddn_jax.refinement import POOL, InputConvolution, LSTMCell

MODELS = {
    "IODINE": IODINE(ODDNConfig.preset("prediction")),
    "PROVIDE": PROVIDE(ProvideConfig.preset("prediction")),
    "ODDN": ODDN(ODDNConfig.preset("prediction")),
}
# Layers by path, with the operations for each element of the activation behind them.
ACTIVATIONS = {
    r"features/squeezenet/.*": 1,
    r"features/conv_\d": 6,
    r"decoder/(conv_[0-3]|condition_\d)": 6,
    r"refinement/(conv_\d|code)": 6,
    r"prior/hidden": 1,
}
POOLED_LAYERS = {r"features/squeezenet/fire_0/squeeze": 3 - 1, r"refinement/code": POOL + 1}
METRICS = {
    "parameters": "parameters",
    "megabytes": "size in MB",
    "scanned": "GFLOPs by torch-scan",
    "inference": "GFLOP of inferring a frame",
}
ONCE = "features"  # for all slots
# What ODDN adds sees arrays of more than two axes, of which that torch-scan took the first for the batch: one row. Its
# matrices without bias count nothing, as if they were no modules; so the column's last digit comes out.
PAIRWISE = ("distiller", "relation", "predictor")


class Computation(NamedTuple):
    """A row of Table 4, and the cost of using the model."""

    parameters: int
    megabytes: float  # 2^20 bytes, of float32
    scanned: int  # operations, as the paper's column
    inference: (
        float  # operations of inferring the slots of one frame, as `experiments.measuring.cost` counts them
    )


class Layer(NamedTuple):
    """A convolution or dense layer at its first call."""

    inputs: int  # elements
    outputs: int  # elements
    kernel: tuple[int, ...]
    has_bias: bool


def compute(model: Backbone) -> Computation:
    """The row of a model; nothing is computed but shapes."""
    config, key = model.config, jax.random.key(0)
    params = jax.eval_shape(model.initialize, key)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(model.to_variables(params)["params"]))
    video = jax.ShapeDtypeStruct((1, 1, config.image_height, config.image_width, 3), jnp.float32)
    inference = count_flops(lambda params, video: model.look(params, video, key[None]), params, video)
    return Computation(parameters, 4 * parameters / 2**20, scanned_flops(model), inference)


def scanned_flops(model: Backbone) -> int:
    """The operations that torch-scan counts in a model of this family."""
    total = 0
    for path, layer in first_calls(model).items():
        pairs = math.prod(layer.kernel)
        if path.startswith(PAIRWISE):
            total += 2 * pairs if layer.has_bias else 0
            continue
        flops = 2 * pairs * layer.outputs // layer.kernel[-1]
        flops += _rate(ACTIVATIONS, path) * layer.outputs + _rate(POOLED_LAYERS, path) * layer.inputs
        total += flops if path.startswith(ONCE) else model.config.num_slots * flops
    return total


def first_calls(model: Backbone) -> dict[str, Layer]:
    """The layers of a model by path, as they are called for one slot; those inside of an LSTM cell are left out."""
    layers: dict[str, Layer] = {}

    def record(call, inputs, options, context):
        outputs, module = call(*inputs, **options), context.module
        is_layer = isinstance(module, Convolution | BroadcastConvolution | InputConvolution | nn.Dense)
        if is_layer and context.method_name == "__call__" and not isinstance(module.parent, LSTMCell):
            held = module.variables["params"]
            layer = Layer(inputs[0].size, outputs.size, held["kernel"].shape, "bias" in held)
            layers.setdefault("/".join(module.path), layer)
        return outputs

    with nn.intercept_methods(record):
        jax.eval_shape(lambda: model.init(jax.random.key(0), method="initialize_parameters"))
    return layers


def _rate(rates: dict[str, int], path: str) -> int:
    return next((rate for pattern, rate in rates.items() if re.fullmatch(pattern, path)), 0)


def table(rows: Mapping[str, Computation]) -> str:
    """The rows beside the paper's, as text: does each number agree in all digits that are printed?"""
    lines = [
        "Table 4: computational complexity of the models at 64x64 pixels, seven slots of 64 latents",
        "paper: quoted; ours: counted from the shapes of the modules, exact, without data",
        "",
        f"{'':<10}{'':<24}{'paper':>12}{'ours':>12}   agrees?",
    ]
    for name, row in rows.items():
        printed = paper.TABLE_4[name]
        for label, quoted, ours in (
            ("GFLOPs by torch-scan", printed.gflops, f"{row.scanned / 1e9:.4f}"),
            ("parameters", printed.parameters, str(row.parameters)),
            ("size (MB)", printed.megabytes, f"{row.megabytes:.2f}"),
        ):
            agrees = "yes" if ours == quoted else "no"
            lines.append(f"{name:<10}{label:<24}{quoted:>12}{ours:>12}   {agrees}")
    lines += ["", f"{'':<10}{'operations by torch-scan':>26}{'GFLOP of inferring a frame':>30}"]
    lines += [f"{name:<10}{row.scanned:>26,}{row.inference / 1e9:>30.1f}" for name, row in rows.items()]
    lines += [
        "The column counts one decoding and one refinement; inference decodes a frame five times, refines it four",
        "times and needs the decoder's gradient for it. What ODDN adds is counted as torch-scan counted arrays of",
        "more than two axes, one row of them, and without matrices that have no bias: its last digit rests on that.",
    ]
    return "\n".join(lines)


def lines(rows: Mapping[str, Computation]) -> list[dict[str, Any]]:
    """The rows as lines of a CSV file."""
    found = []
    for name, row in rows.items():
        quoted = dict(zip(("scanned", "parameters", "megabytes"), paper.TABLE_4[name]))
        for metric, ours in row._asdict().items():
            unit = 1e9 if metric in ("scanned", "inference") else 1
            line = {"target": "table4", "metric": METRICS[metric], "row": name, "ours": ours / unit}
            found.append(line | ({"paper": quoted[metric]} if metric in quoted else {}))
    return found
