from __future__ import annotations

from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from zipmap_jax.inference.buckets import Bucket
from zipmap_jax.inference.compile import (
    compiled_update,
    enable_compilation_cache,
    forget_programs,
)


def test_programs_are_kept_per_model_and_bucket(echo):
    model = echo()

    def program(views, chunk=None):
        return compiled_update(model.model, model.params, Bucket(views, 8, 8, chunk=chunk))

    assert program(2) is program(2)
    assert program(2) is not program(3)
    assert program(2) is not program(2, chunk=1)
    assert program(2).bucket == Bucket(2, 8, 8)


def test_program_reports_whether_it_was_cached_on_disk(echo, tmp_path, monkeypatch, cache_config):
    """The second compilation reads the programs of the first from the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    enable_compilation_cache()
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    compilation_cache.reset_cache()  # JAX reads the setting once
    model = echo()
    try:
        programs = []
        for _ in range(2):
            forget_programs()
            programs.append(compiled_update(model.model, model.params, Bucket(2, 12, 8)))
    finally:
        compilation_cache.reset_cache()
    assert [program.cached for program in programs] == [False, True]
    assert programs[0].text.startswith("program: 2 views of 8x12, compiled in ")
    assert "read from the cache" in programs[1].text


def test_program_with_a_missing_part_is_not_cached(echo, tmp_path, monkeypatch, cache_config):
    """Two of three programs are cached, as after an interrupted compilation."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = enable_compilation_cache()
    assert path
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    compilation_cache.reset_cache()
    model = echo()

    def program():
        forget_programs()
        return compiled_update(model.model, model.params, Bucket(2, 12, 20))

    try:
        assert not program().cached
        (kept,) = path.glob("jit_mix*-cache")
        kept.unlink()
        compilation_cache.reset_cache()
        assert not program().cached
        assert program().cached
    finally:
        compilation_cache.reset_cache()


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
def test_cache_is_off_by_variable_or_without_a_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("ZIPMAP_NO_CACHE", "1")
    assert enable_compilation_cache() is None
    monkeypatch.delenv("ZIPMAP_NO_CACHE")
    (tmp_path / "zipmap-jax").write_text("a file where the directory should be")
    assert enable_compilation_cache() is None
    assert jax.config.jax_compilation_cache_dir is None  # type: ignore[attr-defined]


@pytest.mark.usefixtures("cache_config")
def test_a_configured_cache_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match=r"file/cache of JAX_COMPILATION_CACHE_DIR cannot be wri"):
        assert enable_compilation_cache() is None
    assert jax.config.jax_compilation_cache_dir is None


@pytest.mark.usefixtures("cache_config")
def test_configured_cache_is_respected(tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    assert enable_compilation_cache() == tmp_path
