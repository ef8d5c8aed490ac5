"""Runs every Python block of the pages in FOLDER, beside a tiny model and a clip of the names that they use.

    python -m tests.docs.run_blocks FOLDER

Prints the page and the heading above each block before it runs.
"""

import os
import pathlib
import sys

import av
import jax
import numpy as np

import oddn_jax
from tests.docs.pages import GUIDES, Block, blocks, name, path_of
from tests.experiments.tiny import get_config


def python_blocks() -> list[tuple[str, Block]]:
    """The blocks that run, each with the name of its page."""
    found = [(name(page), block) for page in GUIDES for block in blocks(page.read_text())]
    return [(page, block) for page, block in found if block.language == "python"]


def write_clip(path: pathlib.Path) -> None:
    """Writes an mp4 of 16 frames."""
    random = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, width=48, height=32, pix_fmt="yuv420p")
        for _ in range(16):
            frame = av.VideoFrame.from_ndarray(random.integers(0, 256, (32, 48, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def prepare() -> None:
    """Writes the files that the blocks read into the current folder."""
    model, random = oddn_jax.ODDN(get_config().model), np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), method="initialize_parameters"))["params"]
    params = jax.tree.map(lambda x: random.uniform(-0.3, 0.3, x.shape).astype(x.dtype), shapes)
    oddn_jax.save("oddn.safetensors", model.config, params, provenance={"step": 3})
    for function, content in oddn_jax.serialize_functions(model, params).items():
        pathlib.Path(f"oddn.{function}.jaxexport").write_bytes(content)
    write_clip(pathlib.Path("clip.mp4"))


def main(folder: str) -> None:
    """Prepares the folder and runs the blocks there, each in a namespace of its own, the model as it was before."""
    os.chdir(folder)
    prepare()
    files = {path: path.read_bytes() for path in pathlib.Path().iterdir()}
    for page, block in python_blocks():
        for path, content in files.items():
            path.write_bytes(content)
        print(f"# {page}: {block.heading}", flush=True)
        names = {}
        if own := path_of(block):  # a file of the reader's own, as a module
            names["__name__"] = own.removesuffix(".py").replace("/", ".")
        exec(compile(block.text, f"{page}, {block.heading}", "exec"), names)
        for variable, value in names.items():
            if isinstance(value, jax.Array) and variable != "key":
                assert np.isfinite(value).all(), variable
                print(variable, value.shape)


if __name__ == "__main__":
    main(sys.argv[1])
