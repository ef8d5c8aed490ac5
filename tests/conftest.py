"""Settings of JAX for all tests: compiled code is kept from one run to the next."""

import pathlib

import jax

CACHE = pathlib.Path(__file__).parent.parent / ".jax_cache"
jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
