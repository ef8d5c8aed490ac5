"""How `toy_model.Toy` is trained; read as --config."""

from tests.experiments import tiny
from tests.experiments.toy_model import ToyConfig


def get_config(variant: str = ""):
    config = tiny.get_config()
    config.system, config.model = "tests.experiments.toy_model:Toy", ToyConfig()
    config.workdir = "runs/toy"
    return config
