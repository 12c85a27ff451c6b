from __future__ import annotations

import numpy as np
import pytest

from zipmap_jax.eval.metrics import DepthMetric, l1_scale, median_scale


def test_l1_scale_has_not_converged():
    predicted, true = np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 4, 6, 8, 100])
    assert l1_scale(predicted, true) == pytest.approx(2.008785, abs=5e-7)


def test_median_is_the_lower_one():
    assert median_scale(np.array([4.0, 1, 2, 3]), np.array([8.0, 6, 9, 7])) == pytest.approx(3.5)
    assert median_scale(np.array([3.0, 1, 2]), np.array([9.0, 8, 7])) == pytest.approx(4)


def test_metrics_without_alignment():
    predicted, true = np.array([1.0, 2, 4]), np.array([1.25, 2, 3])
    values = DepthMetric.from_depth(predicted, true, true > 0, "metric").compute()
    assert values["AbsRel"] == pytest.approx(0.177778, abs=5e-7)
    assert values["delta<1.25"] == pytest.approx(1 / 3)  # 1.25 itself does not count
    assert values["delta<1.25^2"] == pytest.approx(1)
    assert values["RMSE"] == pytest.approx(np.sqrt((0.0625 + 1) / 3))
    assert values["SqRel"] == pytest.approx((0.05 + 1 / 3) / 3)
    logs = np.log([0.8, 1, 4 / 3])
    assert values["LogRMSE"] == pytest.approx(np.sqrt(np.mean(logs**2)))


@pytest.mark.parametrize("alignment", ["scale", "median"])
def test_alignment_removes_the_unit(alignment):
    true = np.random.default_rng(0).uniform(1, 9, (2, 5, 6))
    metric = DepthMetric.from_depth(true / 7, true, true > 0, alignment)
    assert metric.pixels == 60
    assert metric.compute()["AbsRel"] == pytest.approx(0, abs=1e-12)
    assert metric.compute()["delta<1.25"] == 1


def test_invalid_pixels_do_not_count():
    true = np.array([[1.0, 2, 0], [4, 5, 6]])
    predicted = np.where(true > 0, true, 1000)
    assert DepthMetric.from_depth(predicted, true, true > 0).compute()["RMSE"] < 1e-9


def test_clip_follows_alignment():
    true, predicted = np.array([10.0, 20, 60]), np.array([10.0, 20, 600])
    metric = DepthMetric.from_depth(predicted, true, true > 0, "median", clip=70)
    assert metric.compute()["AbsRel"] == pytest.approx(1 / 18)


def test_merge_weights_by_pixels():
    ones = np.ones(3)
    exact = DepthMetric.from_depth(ones, ones, ones > 0, "metric")
    half = DepthMetric.from_depth(0.5 * ones[:1], ones[:1], ones[:1] > 0, "metric")
    assert exact.merge(half).compute()["AbsRel"] == pytest.approx(0.5 / 4)
    assert np.isnan(DepthMetric().compute()["AbsRel"])


def test_errors():
    with pytest.raises(ValueError, match="resize"):
        DepthMetric.from_depth(np.ones(3), np.ones(4), np.ones(4, bool))
    with pytest.raises(ValueError, match="median"):
        DepthMetric.from_depth(np.ones(3), np.ones(3), np.ones(3, bool), "affine")
