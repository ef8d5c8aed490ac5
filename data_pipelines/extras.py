"""The packages that only programs need: said in one line where they are missing, before anything is imported."""

import importlib.util
import sys


def require(package: str, extras: str, *modules: str) -> None:
    """Raises ImportError if modules that a package needs of the extras are missing; `python -m` ends in a line."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if not missing:
        return
    line = f"{package} needs {', '.join(missing)}: pip install 'oddn_jax[{extras}]'"
    if sys.argv[:1] == ["-m"]:  # as long as Python looks for the program that is to run
        print(line, file=sys.stderr)
        raise SystemExit(2)
    raise ImportError(line)
