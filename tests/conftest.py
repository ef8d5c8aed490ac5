"""Settings of JAX for all tests: compiled code is kept from one run to the next, and compiled in a hurry."""

import os
import pathlib

# Most of the suite's time is compilation; LLVM's optimisations take half of it and win nothing on tiny models.
# Programs that tests start inherit it. `XLA_FLAGS= python -m pytest` tests optimised code, as the slow tests want it.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import jax

CACHE = pathlib.Path(__file__).parent.parent / ".jax_cache"
jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
