"""How long a step takes on a card at best: *predicted* from its operations and bytes, never measured.

Each kernel takes at least the time of its operations at the card's highest rate, and at least that of its bytes at the
memory's; a step takes at least the sum of the larger ones. The tuned libraries reach perhaps half of such rates, and
starting a kernel costs some microseconds, which the smallest ones are shorter than. Exchanging gradients between cards,
the data and whatever else the host does come on top.
"""

from typing import Any

from experiments.measuring.cards import Card
from experiments.measuring.kernels import Kernel, kernels

SMALL = 5e-6  # seconds; what starting a kernel takes, about


def predict(text: str, card: Card, num_steps: float) -> dict[str, Any]:
    """What the hardware allows of a compiled training step, on one device.

    Args:
        text: of `jax.stages.Compiled.as_text`.
        num_steps: such steps that take as long as the whole training.

    Returns:
        `flops` of products and convolutions, `moved_bytes`, `num_kernels` of a step; `seconds_at_best`;
        `operations_share`, the part of these that kernels take whose operations last longer than their bytes;
        `num_small`, kernels shorter than starting one; `hours_at_best` of the whole training.
    """
    found = kernels(text)
    seconds = {kernel: kernel.count * at_best(kernel, card) for kernel in found}
    total = sum(seconds.values())
    by_operations = sum(
        value
        for kernel, value in seconds.items()
        if kernel.flops and _operations(kernel, card) > _bytes(kernel, card)
    )
    return {
        "flops": sum(kernel.count * kernel.flops for kernel in found),
        "moved_bytes": sum(kernel.count * kernel.bytes for kernel in found),
        "num_kernels": sum(kernel.count for kernel in found),
        "num_small": sum(kernel.count for kernel in found if at_best(kernel, card) < SMALL),
        "seconds_at_best": total,
        "operations_share": by_operations / total,
        "hours_at_best": num_steps * total / 3600,
    }


def at_best(kernel: Kernel, card: Card) -> float:
    """Seconds that one run of a kernel takes at least."""
    return max(_operations(kernel, card), _bytes(kernel, card))


def _operations(kernel: Kernel, card: Card) -> float:
    return kernel.flops / (card.bfloat16 if kernel.dtype == "bf16" else card.tensor_float32)


def _bytes(kernel: Kernel, card: Card) -> float:
    return kernel.bytes / card.bandwidth
