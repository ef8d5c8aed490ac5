"""The backbone against an independent PyTorch implementation, in float32 and float64."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oddn_jax import ODDNConfig
from oddn_jax.backbone import as_function
from oddn_jax.baselines import IODINE, params_from_torch
from oddn_jax.distributions import Posterior
from oddn_jax.inference import evaluate_and_look
from oddn_jax.losses import elbo_losses

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "iodine_case0.npz")


def torch_parameters() -> dict[str, np.ndarray]:
    shapes = {name[len("shape/") :]: GOLDEN[name] for name in GOLDEN if name.startswith("shape/")}
    random, arrays = np.random.RandomState(0), {}
    for name in sorted(shapes):
        shape = tuple(shapes[name])
        if name == "lmbda0":
            arrays[name] = random.uniform(-0.5, 0.5, shape)
        elif len(shape) > 1:
            arrays[name] = random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        else:
            arrays[name] = 0.1 * random.standard_normal(shape)
    return arrays


@pytest.fixture(scope="module", params=["float32", "float64"])
def case(request):
    """Everything, computed once for each precision: tolerance, and loss, inference, refinement inputs, gradients."""
    dtype = request.param
    with jax.enable_x64(dtype == "float64"):
        config = ODDNConfig(
            num_slots=3,
            num_refinement_steps=3,
            latent_size=4,
            nll_weight=5.0,
            features="none",
            compute_dtype=dtype,
        )
        model = IODINE(config)
        params = jax.tree.map(lambda x: jnp.asarray(x, dtype), params_from_torch(torch_parameters()))
        frame = jnp.asarray(GOLDEN["x"].transpose(0, 2, 3, 1), dtype)
        noise = jnp.asarray(GOLDEN["eps"][:, None], dtype)

        def loss(params):
            inference = model.apply({"params": params}, frame, noise=noise)
            return sum(elbo_losses(inference, config)).sum(), inference

        (total, inference), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)

        def look(module):
            posterior = Posterior(*jnp.split(jnp.broadcast_to(module.initial_posterior, (1, 3, 8)), 2, -1))
            return evaluate_and_look(as_function(module.decoder), frame, None, posterior, noise[0], config)[1]

        inputs = jax.jit(functools.partial(model.apply, method=look))({"params": params})
    tolerance = 1e-4 if dtype == "float32" else 1e-8
    return tolerance, jax.tree.map(np.asarray, (total, inference, inputs, gradients))


def assert_close(ours, reference, tolerance):
    """Relative to the largest value: single elements near zero carry the rounding of the large ones."""
    np.testing.assert_allclose(ours, reference, rtol=tolerance, atol=tolerance * np.abs(reference).max())


def test_posteriors_at_every_step(case):
    tolerance, (_, inference, _, _) = case
    assert_close(inference.trajectory.mean[0], GOLDEN["mu_z"], tolerance)
    assert_close(inference.trajectory.log_variance[0], GOLDEN["logvar_z"], tolerance)


def test_losses(case):
    tolerance, (total, inference, _, _) = case
    assert_close(total, GOLDEN["total_loss"].item(), tolerance)
    assert_close((5 * inference.nll + inference.kl)[0, :-1], GOLDEN["step_losses"], tolerance)
    assert_close(inference.nll[0, -1], GOLDEN["final_nll"], tolerance)
    assert_close(inference.kl[0, -1], GOLDEN["final_kl"], tolerance)


def test_pictures_and_masks(case):
    tolerance, (_, inference, _, _) = case
    tolerance = max(tolerance, 1e-6)  # the reference stores these in float32
    decoded = inference.decoded
    assert_close(decoded.slot_rgb[0, :, ::4, ::4].transpose(0, 3, 1, 2), GOLDEN["mu_x"][0], tolerance)
    assert_close(decoded.slot_masks[0, :, ::4, ::4].transpose(0, 3, 1, 2), GOLDEN["masks"][0], tolerance)


def test_refinement_inputs(case):
    tolerance, (_, _, inputs, _) = case
    tolerance = max(tolerance, 1e-6)  # the reference stores these in float32
    assert_close(inputs.image[0, :, ::8, ::8].transpose(0, 3, 1, 2), GOLDEN["first_refine_img"], tolerance)
    assert_close(inputs.vector[0], GOLDEN["first_refine_vec"], tolerance)


def test_parameter_gradients(case):
    tolerance, (_, _, _, gradients) = case
    compared = 0
    for name, ours in torch_gradients(gradients).items():
        assert_close(np.linalg.norm(ours), GOLDEN[f"gradnorm/{name}"], tolerance)
        head = GOLDEN[f"gradhead/{name}"]
        scale = np.abs(ours).max()
        np.testing.assert_allclose(ours.ravel()[:8], head, rtol=tolerance, atol=tolerance * scale)
        compared += 1
    assert compared == sum(name.startswith("shape/") for name in GOLDEN)


def torch_gradients(gradients) -> dict[str, np.ndarray]:
    """Our gradients in PyTorch's names and layouts, written independently of `params_from_torch`."""
    decoder, refinement = gradients["decoder"], gradients["refinement"]
    result = {"lmbda0": gradients["initial_posterior"]}
    for prefix, tree, count in (
        ("decoder.conv_layer", decoder, 5),
        ("refine_net.convnet.model", refinement, 4),
    ):
        for i in range(count):
            result[f"{prefix}.{2 * i}.weight"] = np.moveaxis(tree[f"conv_{i}"]["kernel"], (3, 2), (0, 1))
            result[f"{prefix}.{2 * i}.bias"] = tree[f"conv_{i}"]["bias"]
    code = refinement["code"]
    result["refine_net.fc_in.0.weight"] = np.einsum(
        "hwco->ochw", code["kernel"].reshape(16, 16, 64, 128)
    ).reshape(128, -1)
    result["refine_net.fc_in.0.bias"] = code["bias"]
    for ours, theirs in (("input", "ih"), ("hidden", "hh")):
        result[f"refine_net.lstm.weight_{theirs}"] = refinement["lstm"][ours]["kernel"].T
        result[f"refine_net.lstm.bias_{theirs}"] = refinement["lstm"][ours]["bias"]
    result["refine_net.fc_out.weight"] = refinement["delta"]["kernel"].T
    result["refine_net.fc_out.bias"] = refinement["delta"]["bias"]
    return result
