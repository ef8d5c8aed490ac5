"""What importing and installing the library alone promises."""

import subprocess
import sys

import oddn_jax


def test_every_public_name_exists():
    assert len(set(oddn_jax.__all__)) == len(oddn_jax.__all__)
    for name in oddn_jax.__all__:
        assert hasattr(oddn_jax, name), name


def test_the_library_imports_nothing_of_the_extras():
    program = (
        "import oddn_jax, sys; "
        "heavy = ('optax', 'orbax', 'grain', 'tensorflow_datasets', 'tensorflow', 'mujoco', 'numba', 'av', "
        "'absl.flags', "
        "'ml_collections', 'sklearn', 'scipy.stats', 'data_pipelines', 'experiments'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    # Flax itself imports some of these; only what the library adds counts.
    flax = subprocess.run(
        [sys.executable, "-c", program.replace("oddn_jax", "flax.linen")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert eval(result.stdout) == eval(flax.stdout)
