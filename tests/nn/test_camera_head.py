from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from zipmap_jax.nn.camera_head import IterativeCameraHead
from zipmap_jax.nn.config import FP32, CameraHeadConfig


def test_no_gradient_flows_from_one_iteration_into_the_previous_one() -> None:
    """The last pose depends on the tokens of the empty pose, but its gradient does not."""
    head = IterativeCameraHead(CameraHeadConfig(depth=1, heads=2, iterations=3), 16, FP32)
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: jnp.asarray(rng.normal(0, 0.3, x.shape), x.dtype), head.init(jax.random.key(0))
    )
    tokens = jnp.asarray(rng.normal(size=(1, 2, 16)), jnp.float32)

    def poses(empty: jax.Array) -> jax.Array:
        return head({**params, "empty_pose_tokens": empty}, tokens)[..., :7].sum((1, 2, 3))

    empty = params["empty_pose_tokens"]
    jacobian = np.asarray(jax.jit(jax.jacrev(poses))(empty))
    assert np.abs(jacobian[0]).max() > 1e-3
    np.testing.assert_array_equal(jacobian[1:], 0)
    compiled = jax.jit(poses)
    changed = np.abs(compiled(empty + 0.1) - compiled(empty))
    assert (changed > 1e-4).all()
