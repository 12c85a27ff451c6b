"""Every loss term and gradient against recorded values of the reference."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from tests.losses import recorded
from zipmap_jax.losses.normalise import alignment_scale, prediction_unit

BATCHES = [
    "loss_plain",
    "loss_all_invalid",
    "loss_all_low",
    "loss_extreme",
    "loss_flat",
    "loss_invalid_frame",
    "loss_invalid_sample",
    "loss_neg_scale",
]
CASES = [
    (batch, stage)
    for batch in BATCHES
    for stage in recorded.KINDS
    if f"{stage}.loss.loss_objective" in recorded.arrays(batch)
]


@pytest.mark.parametrize(("batch", "stage"), CASES)
def test_terms_and_gradients(batch, stage):
    z = recorded.arrays(batch)
    parts, gradients = recorded.run(batch, stage)

    prefix = f"{stage}.loss."
    # The perceptual term is not part of the library; it was recorded with weight 0.
    wanted = {k.removeprefix(prefix) for k in z if k.startswith(prefix)} - {"loss_nvs_lpips"}
    assert wanted == {name for name in parts if name.startswith("loss_")}
    for name in wanted:
        # float32 against float64 in the reference: 2e-6.
        assert parts[name] == pytest.approx(float(z[prefix + name]), rel=1e-5, abs=1e-8), name

    recorded_names = {k.split(".")[-1] for k in z if k.startswith(f"{stage}.grad.")}
    assert recorded_names == set(gradients)
    for name, gradient in gradients.items():
        assert np.isfinite(gradient).all(), name
        # Dense gradients were recorded at every second row and column.
        shown = gradient if gradient.ndim < 4 or "pose" in name else gradient[:, :, ::2, ::2]
        expected = z[f"{stage}.grad.{name}"].astype(np.float64)
        difference = np.sqrt(np.mean((shown - expected) ** 2))
        # float32 against float64 in the reference: 1.5e-5.
        assert difference <= 1e-4 * np.sqrt(np.mean(expected**2)), name
        norm = float(z[f"{stage}.gnorm.{name}"])
        assert np.linalg.norm(gradient) == pytest.approx(norm, rel=1e-4, abs=0), name


@jax.jit
def own_scale(points, target):
    unit = prediction_unit(points, target.mask)
    return alignment_scale(points / unit[:, None, None, None, None], target)


@pytest.mark.parametrize("batch", [b for b in BATCHES if b != "loss_all_invalid"])
def test_alignment_scale(batch):
    z = recorded.arrays(batch)
    scale = own_scale(recorded.prediction(z).local_points, recorded.target(z))
    np.testing.assert_allclose(scale, z["stage2.align_scale"], rtol=1e-5)
