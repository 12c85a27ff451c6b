from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zipmap_jax.geometry import (
    compose_poses,
    decode_pose,
    encode_pose,
    homogeneous,
    invert_pose,
    pose_from,
    quaternion_to_matrix,
    rebase_poses,
    relative_pose,
    transform_points,
)

GOLDEN = Path(__file__).parent.parent / "golden"
SIZE = (56, 84)


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "unit_geometry.npz") as z:
        return dict(z)


def poses(*shape: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return pose_from(
        quaternion_to_matrix(rng.normal(size=(*shape, 4))), rng.normal(size=(*shape, 3))
    )


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


def test_recorded_encoding(recorded):
    w2c, intrinsics = recorded["in.extrinsics"], recorded["in.intrinsics"]
    close(encode_pose(w2c, intrinsics, SIZE), recorded["out.pose_enc"])
    close(encode_pose(homogeneous(w2c), intrinsics, SIZE), recorded["out.pose_enc"])


def test_recorded_decoding(recorded):
    w2c, intrinsics = decode_pose(recorded["in.pose_enc"], SIZE)
    close(w2c[..., :3, :], recorded["out.extrinsics"])
    close(intrinsics, recorded["out.intrinsics"])


def test_recorded_round_trip(recorded):
    w2c, intrinsics = decode_pose(recorded["out.pose_enc"], SIZE)
    close(w2c[..., :3, :], recorded["out.roundtrip_extrinsics"])
    close(intrinsics, recorded["out.roundtrip_intrinsics"])
    close(w2c[..., :3, :], recorded["in.extrinsics"])


def test_recorded_matrix_encoding(recorded):
    """The other encoding of the reference has nine numbers for the rotation."""
    enc = encode_pose(recorded["in.extrinsics"], recorded["in.intrinsics"], SIZE)
    rotation = quaternion_to_matrix(enc[..., 3:7]).reshape(2, 4, 9)
    ours = np.concatenate([enc[..., :3], rotation, enc[..., 7:]], axis=-1)
    close(ours, recorded["out.pose_enc_svd"])


def test_recorded_inverse(recorded):
    w2c = recorded["in.unproject.extrinsics"].reshape(6, 3, 4)
    close(invert_pose(w2c), recorded["out.inverse_se3"])


def test_recorded_rebasing(recorded):
    """The recorded translations were divided by the scale of the scene afterwards."""
    w2c, expected = (
        rebase_poses(recorded["in.unproject.extrinsics"]),
        recorded["out.norm.extrinsics"],
    )
    close(w2c[..., :3, :3], expected[..., :3])
    unit = np.abs(w2c[..., :3, 3]).sum((1, 2)) / np.abs(expected[..., 3]).sum((1, 2))
    close(w2c[..., :3, 3] / unit[:, None, None], expected[..., 3])


@pytest.mark.parametrize("xp", [np, jnp])
@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_axioms(xp, shape):
    a, b, c = (xp.asarray(poses(*shape, seed=s).astype(np.float32)) for s in range(3))
    eye = np.broadcast_to(np.eye(4), a.shape)
    np.testing.assert_allclose(compose_poses(a, invert_pose(a)), eye, atol=1e-6)
    np.testing.assert_allclose(invert_pose(invert_pose(a)), a, atol=1e-6)
    left, right = compose_poses(compose_poses(a, b), c), compose_poses(a, compose_poses(b, c))
    np.testing.assert_allclose(left, right, atol=2e-6)
    np.testing.assert_allclose(relative_pose(a, b), compose_poses(a, invert_pose(b)), atol=2e-6)
    np.testing.assert_allclose(compose_poses(relative_pose(a, b), b), a, atol=2e-6)
    assert isinstance(left, jax.Array if xp is jnp else np.ndarray)


def test_points_follow_composition():
    a, b = poses(2, 3), poses(2, 3, seed=1)
    points = np.random.default_rng(2).normal(size=(2, 3, 4, 5, 3))
    once = transform_points(compose_poses(a, b), points)
    np.testing.assert_allclose(once, transform_points(a, transform_points(b, points)))
    expected = np.einsum("bvij,bvhwj->bvhwi", a[..., :3, :3], points) + a[:, :, None, None, :3, 3]
    np.testing.assert_allclose(transform_points(a, points), expected)


def test_rebasing_makes_a_camera_the_world():
    w2c = poses(2, 4)
    moved = rebase_poses(w2c, view=2)
    np.testing.assert_allclose(moved[:, 2], np.broadcast_to(np.eye(4), (2, 4, 4)), atol=1e-12)
    before, after = (relative_pose(p[:, 3], p[:, 1]) for p in (w2c, moved))
    np.testing.assert_allclose(after, before, atol=1e-12)


def test_encoding_ignores_length_and_sign_of_the_quaternion():
    enc = np.array([0.1, 0.2, 0.3, 0.1, -0.2, 0.3, 0.8, 0.9, 1.1])
    other = enc * np.array([1, 1, 1, -3, -3, -3, -3, 1, 1])
    for a, b in zip(decode_pose(enc, SIZE), decode_pose(other, SIZE), strict=True):
        np.testing.assert_allclose(a, b)


def test_decoding_under_jit():
    enc = np.random.default_rng(0).uniform(0.2, 1, (2, 3, 9)).astype(np.float32)
    ours = jax.jit(decode_pose, static_argnames=("size",))(jnp.asarray(enc), size=SIZE)
    for a, b in zip(ours, decode_pose(enc, SIZE), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.wrong_types
def test_shape_of_a_pose():
    with pytest.raises(ValueError, match=r"\(3, 3\)"):
        homogeneous(np.eye(3))
