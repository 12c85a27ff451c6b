"""The loader of a configuration's mixture."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from zipmap_jax.data.datasets.readers import open_source
from zipmap_jax.data.loader import loader
from zipmap_jax.data.mixture import Mixture
from zipmap_jax.data.schedule import bucket_of
from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from zipmap_jax.data.config import DataConfig, SourceConfig
    from zipmap_jax.data.frame import SceneSource
    from zipmap_jax.data.loader import Loader


def open_loader(
    config: DataConfig, steps: int, seed: int, *, start: int = 0, host: int = 0, hosts: int = 1
) -> Loader:
    """Batches of `config.mixture` from step `start` on, in the shapes that `bucket_of` gives.

    Args:
      config: mixture, shapes, crops and processes.
      steps: length of the run.
      seed: of everything random.
      start: first step wanted.
      host, hosts: which contiguous share of the microbatches this process reads.

    Raises:
      UserError: the mixture is empty, or one of its sources cannot be opened.
    """
    used = used_sources(config)
    if not used:
        raise UserError("the loader has nothing to read: name data sets in data.mixture")
    mixture = Mixture(
        [_open(entry, config, seed) for entry in used],
        [entry.weight for entry in used],
        seed,
        config.retries,
    )
    shape_of = functools.partial(bucket_of, steps=steps, seed=seed, config=config)
    return loader(
        mixture,
        shape_of,
        steps=steps,
        start=start,
        microbatches=config.microbatches,
        host=host,
        hosts=hosts,
        workers=config.workers,
        threads=config.threads,
        prefetch=config.prefetch,
    )


def used_sources(config: DataConfig) -> list[SourceConfig]:
    """The data sets that are drawn from, in the order by which the loader numbers them."""
    return [entry for entry in config.mixture if entry.weight > 0]


def _open(entry: SourceConfig, config: DataConfig, seed: int) -> SceneSource:
    crop = config.crop
    return open_source(
        entry.name,
        Path(entry.root or Path(config.root) / entry.name),
        seed=seed,
        min_views=config.min_views,
        scales=crop.scales if crop else None,
        zoom=crop.zoom if crop else 0.0,
        shuffle_views=config.shuffle_views,
        video_prob=entry.video_prob,
        max_interval=entry.max_interval,
    )
