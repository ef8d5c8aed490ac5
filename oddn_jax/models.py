"""The models by name, as run folders and exported files call them."""

import sys

from oddn_jax.baselines import IODINE, PROVIDE, SRVP, IODINELinear, MONet
from oddn_jax.model import ODDN
from oddn_jax.video_model import VideoModel

MODELS = {model.__name__: model for model in (ODDN, IODINE, IODINELinear, PROVIDE, SRVP, MONet)}


def model_name(model: type[VideoModel]) -> str:
    """The name by which `find_model` finds a class: its own for one of ours, else "package.module:Class".

    Raises:
      ValueError: nothing finds it, because it is defined inside of a function or a program's main file.
    """
    name = model.__name__
    if MODELS.get(name) is model:
        return name
    name = f"{model.__module__}:{name}"
    if getattr(sys.modules.get(model.__module__), model.__name__, None) is not model or "__main__" in name:
        raise ValueError(
            f"{model.__name__} is neither one of {', '.join(MODELS)} nor at the top of a module that can be imported"
        )
    return name


def find_model(name: str) -> type[VideoModel]:
    """The class of a name. Nothing is imported: a class that is not ours is found once its module is.

    Raises:
      ValueError: there is no such class, or its module is not imported.
    """
    if name in MODELS:
        return MODELS[name]
    module, _, attribute = name.partition(":")
    if not attribute:
        raise ValueError(f"model {name!r} is not one of {', '.join(MODELS)}")
    if module not in sys.modules:
        raise ValueError(f"model {name!r} is not known yet: import {module} first")
    model = getattr(sys.modules[module], attribute, None)
    if not (isinstance(model, type) and issubclass(model, VideoModel)):
        raise ValueError(f"model {name!r}: {module} has no VideoModel of that name")
    return model
