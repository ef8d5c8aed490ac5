"""Arrays on their way to the page: a JSON header that names them, then their bytes."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

ALIGNMENT = 4  # bytes; JavaScript's typed arrays start at multiples of their item's size


def pack(facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray | None]) -> bytes:
    """Packs JSON-able facts and arrays, u8 or f32; those that are None are left out.

    Returns:
        The header's length (u32, little-endian), the header in UTF-8, and the arrays, each from a multiple of four
        bytes behind the header on, where the header says.
    """
    listed, parts, offset = [], [], 0
    for name, array in arrays.items():
        if array is None:
            continue
        kind = "u8" if array.dtype == np.uint8 else "f32"
        content = np.ascontiguousarray(array, "u1" if kind == "u8" else "<f4").tobytes()
        listed.append({"name": name, "kind": kind, "shape": list(array.shape), "offset": offset})
        parts.append(content + bytes(-len(content) % ALIGNMENT))
        offset += len(parts[-1])
    header = json.dumps({"facts": facts, "arrays": listed}).encode()
    header += b" " * (-len(header) % ALIGNMENT)
    return b"".join([len(header).to_bytes(4, "little"), header, *parts])


def to_pixels(picture: np.ndarray | None) -> np.ndarray | None:
    """Pictures or shares f32 in [0, 1] as u8, rounded as all pictures of this project are."""
    return None if picture is None else np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)
