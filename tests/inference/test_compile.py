from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zipmap_jax.inference.compile import (
    compiled_update,
    enable_compilation_cache,
    padded_views,
)
from zipmap_jax.structs import Views


@pytest.mark.parametrize(
    ("views", "chunk", "padded"), [(5, 2, 6), (4, 2, 4), (1, 4, 4), (3, None, 3)]
)
def test_views_are_padded_to_whole_chunks(views, chunk, padded):
    images = np.random.default_rng(0).uniform(size=(views, 4, 4, 3)).astype(np.float32)
    out, valid = padded_views(images, chunk)
    assert out.shape == (1, padded, 4, 4, 3)
    np.testing.assert_array_equal(out[0, :views], images)
    np.testing.assert_array_equal(valid[0], [True] * views + [False] * (padded - views))


def test_programs_are_kept_per_model_chunk_and_shape(echo):
    model = echo()

    def program(views, chunk=None, dtype=jnp.float32):
        shape = jax.ShapeDtypeStruct((1, views, 8, 8, 3), dtype)
        mask = jax.ShapeDtypeStruct((1, views), bool)
        return compiled_update(model.model, model.params, Views(shape, mask), chunk)

    assert program(2) is program(2)
    assert program(2) is not program(3)
    assert program(2) is not program(2, chunk=1)
    assert program(2) is not program(2, dtype=jnp.bfloat16)


@pytest.fixture
def cache_config(monkeypatch):
    monkeypatch.delenv("ZIPMAP_NO_CACHE", raising=False)
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.usefixtures("cache_config")
def test_cache_follows_xdg(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = enable_compilation_cache()
    assert path == tmp_path / "zipmap-jax"
    assert path.is_dir()
    assert jax.config.jax_compilation_cache_dir == str(path)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("cache_config")
@pytest.mark.parametrize("xdg", ["", "relative/place"])
def test_cache_defaults_to_the_home_directory(tmp_path, monkeypatch, xdg):
    monkeypatch.setenv("XDG_CACHE_HOME", xdg)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert enable_compilation_cache() == tmp_path / ".cache" / "zipmap-jax"


@pytest.mark.usefixtures("cache_config")
def test_cache_can_be_turned_off_and_does_not_insist(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("ZIPMAP_NO_CACHE", "1")
    assert enable_compilation_cache() is None
    monkeypatch.delenv("ZIPMAP_NO_CACHE")
    (tmp_path / "zipmap-jax").write_text("a file where the directory should be")
    assert enable_compilation_cache() is None
    assert jax.config.jax_compilation_cache_dir is None  # type: ignore[attr-defined]


@pytest.mark.usefixtures("cache_config")
def test_configured_cache_is_respected(tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    assert enable_compilation_cache() == tmp_path
