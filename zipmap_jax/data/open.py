"""Opens the loader of a configuration's mixture."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from zipmap_jax.data.datasets.readers import open_source
from zipmap_jax.data.loader import loader
from zipmap_jax.data.mixture import Mixture
from zipmap_jax.data.roots import root_of
from zipmap_jax.data.schedule import bucket_of
from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from zipmap_jax.data.config import DataConfig, SourceConfig
    from zipmap_jax.data.frame import SceneSource
    from zipmap_jax.data.loader import Loader


def open_loader(
    config: DataConfig, steps: int, seed: int, *, start: int = 0, host: int = 0, hosts: int = 1
) -> Loader:
    """Open the loader of `config.mixture` at step `start`; shapes follow `bucket_of`.

    Args:
      config: mixture, shapes, crops and processes.
      steps: length of the run.
      seed: seed of everything random.
      start: first step to read.
      host, hosts: number of this process and of all; each reads a contiguous share of the
        microbatches.

    Raises:
      UserError: the mixture is empty, or one of its sources cannot be opened.
    """
    used = used_sources(config)
    if not used:
        raise UserError(
            "the loader has no data set of positive weight: name data sets in data.mixture"
        )
    mixture = Mixture(
        [_open(source, config, seed) for source in used],
        [source.weight for source in used],
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
    """Return the data sets of positive weight, in the order in which the loader numbers them."""
    return [source for source in config.mixture if source.weight > 0]


def _open(source: SourceConfig, config: DataConfig, seed: int) -> SceneSource:
    return open_source(
        source.name,
        root_of(source, config),
        seed=seed,
        min_views=config.min_views,
        crop=config.crop,
        shuffle_views=config.shuffle_views,
        video_prob=source.video_prob,
        max_interval=source.max_interval,
    )
