"""Runs every Python block of README.md in FOLDER, beside a tiny model and a clip of the names that they use.

    python -m tests.experiments.readme_blocks FOLDER

Prints the heading above each block before it runs.
"""

import os
import pathlib
import re
import sys

import av
import jax
import numpy as np

import oddn_jax
from tests.experiments.tiny import get_config

README = pathlib.Path(__file__).parents[2] / "README.md"


def blocks(text: str) -> list[tuple[str, str]]:
    """The Python blocks, each with the heading above it."""
    found, heading = [], ""
    for part in re.finditer(r"^#+ ([^\n]+)$|^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        heading = part[1] or heading
        if part[2] == "python":
            found.append((heading, part[3]))
    return found


def prepare() -> None:
    """Writes the files that the blocks read into the current folder."""
    model, random = oddn_jax.ODDN(get_config().model), np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), method="initialize_parameters"))["params"]
    params = jax.tree.map(lambda x: random.uniform(-0.3, 0.3, x.shape).astype(x.dtype), shapes)
    oddn_jax.save("oddn.safetensors", model.config, params, provenance={"step": 3})
    for name, content in oddn_jax.serialize_functions(model, params).items():
        pathlib.Path(f"oddn.{name}.jaxexport").write_bytes(content)
    with av.open("clip.mp4", "w") as container:
        stream = container.add_stream("mpeg4", rate=25, width=48, height=32, pix_fmt="yuv420p")
        for _ in range(16):
            frame = av.VideoFrame.from_ndarray(random.integers(0, 256, (32, 48, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def main(folder: str) -> None:
    """Prepares the folder and runs the blocks there, each in a namespace of its own, the model as it was before."""
    os.chdir(folder)
    prepare()
    files = {path: path.read_bytes() for path in pathlib.Path().iterdir()}
    for heading, block in blocks(README.read_text()):
        for path, content in files.items():
            path.write_bytes(content)
        print(f"# {heading}", flush=True)
        names = {}
        exec(compile(block, f"README.md, {heading}", "exec"), names)
        for name, value in names.items():
            if isinstance(value, jax.Array) and name != "key":
                assert np.isfinite(value).all(), name
                print(name, value.shape)


if __name__ == "__main__":
    main(sys.argv[1])
