"""The 29 data sets of the published mix: mixing weights, samplers of frames and depth filters.

Readers of these data sets use the samplers and filters of this table; `zipmap_jax.data.datasets.
mixtures` makes the mixture of a stage from its weights.

Source: ZipMap, released training configurations and readers.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from zipmap_jax.data.depth_filters import DepthFilter
from zipmap_jax.data.overlap_sampling import (
    OtherStreamSampler,
    OverlapMixSampler,
    OverlapSampler,
    OverlapWalkSampler,
)
from zipmap_jax.data.sampling import PoolSampler, VideoSampler, WindowSampler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zipmap_jax.data.sampling import FrameSampler

Stage = Literal["static", "dynamic", "affine", "online", "query", "debug"]
"""The mixtures: stages 1 to 3, both online runs, the state query, the debug run."""


@dataclasses.dataclass(frozen=True)
class DataSet:
    """One data set.

    Attributes:
      name: also the folder's name below the data root, and the reference's `dataset_name`.
      weights: mixing weight by stage, `len_train` of the reference in thousands; a stage without
        an entry does not use the data set.
      sampler: frames of a scene. The reader adds the graph of samplers that follow overlaps.
      depth_filter: depth to keep.
      detailed: depth is dense and sharp enough to supervise normals.
      dynamic: things move.
      always_video: the online and query mixtures set `video_prob` to 1.
      query_interval: `max_interval` in the query mixture; None = the sampler's own.
      min_views: sequences with fewer frames are never drawn, whatever the configuration of the
        run; None = `DataConfig.min_views`.
    """

    name: str
    weights: Mapping[Stage, int]
    sampler: FrameSampler
    depth_filter: DepthFilter = DepthFilter()
    detailed: bool = True
    dynamic: bool = False
    always_video: bool = True
    query_interval: int | None = None
    min_views: int | None = None


_ROWS = (
    DataSet(
        "aria_syn_envir",
        {"static": 160, "dynamic": 160, "affine": 160, "online": 160, "query": 160},
        VideoSampler(max_interval=10, video_prob=0.6, fix_interval_prob=0.5, start="frame"),
        DepthFilter(max_depth=30),
        query_interval=5,
    ),
    DataSet(
        "arkitscenes",
        {"static": 120, "dynamic": 120, "affine": 120, "online": 120, "query": 100},
        OverlapMixSampler(
            VideoSampler(max_interval=8, video_prob=0.8, fix_interval_prob=0.5), video_share=0.5
        ),
        DepthFilter(high=98),
        query_interval=3,
    ),
    DataSet(
        "blendedmvs",
        {"static": 40, "dynamic": 40, "affine": 40, "online": 40},
        OverlapWalkSampler(),
        DepthFilter(high=97),
        always_video=False,
    ),
    DataSet(
        "co3d",
        {"static": 180, "dynamic": 160, "affine": 160, "online": 160, "query": 160},
        PoolSampler(),
        DepthFilter(high=98),
        detailed=False,
        always_video=False,
        min_views=24,  # Parity: the reference never hands the run's number to this reader.
    ),
    DataSet(
        "dl3dv",
        {"static": 200, "dynamic": 200, "affine": 200, "online": 200, "query": 180},
        VideoSampler(
            max_interval=20, video_prob=0.8, fix_interval_prob=0.5, block=25, start="frame"
        ),
        DepthFilter(high=90),
        detailed=False,
        query_interval=10,
    ),
    DataSet(
        "gta_sfm",
        {"static": 15, "dynamic": 15, "affine": 15, "online": 15, "query": 15},
        VideoSampler(max_interval=4, video_prob=0.6, fix_interval_prob=0.5),
        DepthFilter(max_depth=1000, high=99),
        query_interval=1,
    ),
    DataSet(
        "hypersim",
        {"static": 40, "dynamic": 40, "affine": 40, "online": 40, "query": 40},
        VideoSampler(max_interval=4, video_prob=0.5, fix_interval_prob=0.5),
        DepthFilter(high=99),
        query_interval=2,
    ),
    DataSet(
        "mapfree",
        {"static": 40, "dynamic": 40, "affine": 40, "online": 40, "query": 40},
        OverlapMixSampler(
            VideoSampler(max_interval=30, video_prob=0.8, fix_interval_prob=0.5),
            video_share=0.6,
            min_members=48,
            by_overlap=True,
            own_stream=True,
            start_divisor=3,
        ),
        DepthFilter(max_depth=400, high=90),
        detailed=False,
        query_interval=15,
    ),
    DataSet(
        "matrixcity",
        {"static": 80, "dynamic": 80, "affine": 80, "online": 80},
        VideoSampler(max_interval=3, video_prob=0.8, fix_interval_prob=0.5, start="frame"),
        DepthFilter(folder_max_depth=(("aerial", 1000), ("street", 200)), high=99),
    ),
    DataSet(
        "megadepth",
        {"static": 20, "dynamic": 20, "affine": 20, "online": 20},
        PoolSampler(),
        DepthFilter(high=95),
        detailed=False,
        always_video=False,
    ),
    DataSet(
        "midair",
        {"static": 80, "dynamic": 80, "affine": 80, "online": 80},
        VideoSampler(max_interval=20, video_prob=0.8, fix_interval_prob=0.8, start="frame"),
        DepthFilter(max_depth=200, high=98, low=0.1),
    ),
    DataSet(
        "mp3d",
        {"static": 80, "dynamic": 80, "affine": 80, "online": 80},
        OverlapSampler(),
        DepthFilter(max_depth=20, high=99),
        always_video=False,
    ),
    DataSet(
        "mvs_synth",
        {"static": 10, "dynamic": 10, "affine": 10, "online": 10, "query": 10, "debug": 10},
        VideoSampler(max_interval=4, video_prob=0.6, fix_interval_prob=0.5),
        DepthFilter(max_depth=1000, high=98),
        query_interval=1,
    ),
    DataSet(
        "omniobject3d",
        {"static": 60, "dynamic": 60, "affine": 60, "online": 60, "query": 60},
        VideoSampler(
            max_interval=100, video_prob=0.0, fix_interval_prob=0.5, block=None, start="frame"
        ),
        DepthFilter(max_depth=10, high=99),
        detailed=False,
        always_video=False,
    ),
    DataSet(
        "scannet",
        {"static": 90, "dynamic": 80, "affine": 80, "online": 80, "query": 60},
        VideoSampler(max_interval=30, video_prob=0.6, fix_interval_prob=0.6, start="frame"),
        DepthFilter(high=98),
        query_interval=15,
    ),
    DataSet(
        "scannetpp",
        {"static": 30, "dynamic": 30, "affine": 30, "online": 30, "query": 30},
        OtherStreamSampler(
            VideoSampler(max_interval=3, video_prob=0.8, fix_interval_prob=0.5), video_share=0.7
        ),
        DepthFilter(high=98),
        query_interval=2,
    ),
    DataSet(
        "scenenet",
        {"static": 120, "dynamic": 120, "affine": 120, "online": 120},
        VideoSampler(max_interval=6, video_prob=0.6, fix_interval_prob=0.5),
        DepthFilter(high=99),
    ),
    DataSet(
        "tartanair",
        {"static": 40, "dynamic": 40, "affine": 40, "online": 40, "query": 40},
        VideoSampler(max_interval=20, video_prob=0.8, fix_interval_prob=0.8, start="frame"),
        DepthFilter(max_depth=80, high=99),
        query_interval=8,
    ),
    DataSet(
        "tartanairv2",
        {"static": 120, "dynamic": 120, "affine": 120, "online": 120, "query": 120},
        VideoSampler(max_interval=20, video_prob=0.8, fix_interval_prob=0.8, start="frame"),
        DepthFilter(max_depth=80, high=99, low=0.1),
        query_interval=8,
    ),
    DataSet(
        "unreal4k",
        {"static": 10, "dynamic": 10, "affine": 10, "online": 10},
        VideoSampler(max_interval=2, video_prob=0.8, fix_interval_prob=0.5),
        DepthFilter(max_depth=200, high=98),
        always_video=False,  # Parity: configured in the reference, whose reader ignores it.
    ),
    DataSet(
        "virtual_kitti",
        {"static": 25, "dynamic": 25, "affine": 25, "online": 25, "debug": 25},
        WindowSampler(ratio=8),
        DepthFilter(max_depth=80),
        always_video=False,
    ),
    DataSet(
        "waymo",
        {"static": 100, "dynamic": 100, "affine": 100, "online": 100},
        VideoSampler(max_interval=6, video_prob=0.9, fix_interval_prob=0.9, start="frame"),
        DepthFilter(max_depth=80, high=98),
        detailed=False,
    ),
    DataSet(
        "wildrgbd",
        {"static": 140, "dynamic": 70, "affine": 70, "online": 70, "query": 70},
        VideoSampler(
            max_interval=25, video_prob=0.5, fix_interval_prob=0.5, block=None, start="frame"
        ),
        DepthFilter(max_depth=2, high=90),
        detailed=False,
    ),
    DataSet(
        "bedlam",
        {"dynamic": 120, "affine": 60, "online": 60},
        VideoSampler(max_interval=4, video_prob=0.8, fix_interval_prob=0.8, reverse_prob=0.5),
        DepthFilter(max_depth=200),
        dynamic=True,
    ),
    DataSet(
        "kubric",
        {"dynamic": 300, "affine": 120, "online": 120},
        VideoSampler(max_interval=8, video_prob=0.8, fix_interval_prob=0.5, reverse_prob=0.5),
        DepthFilter(max_depth=30, high=99),
        dynamic=True,
    ),
    DataSet(
        "dynamic_replica",
        {"dynamic": 120, "affine": 60, "online": 60},
        VideoSampler(max_interval=16, video_prob=0.8, fix_interval_prob=0.8, reverse_prob=0.5),
        dynamic=True,
    ),
    DataSet(
        "omniworld_game",
        {"dynamic": 500, "affine": 250, "online": 350},
        VideoSampler(
            max_interval=8, video_prob=0.8, fix_interval_prob=0.8, reverse_prob=0.5, start="length"
        ),
        DepthFilter(high=99),
        dynamic=True,
    ),
    DataSet(
        "pointodyssey",
        {"dynamic": 70, "affine": 35, "online": 35},
        VideoSampler(max_interval=4, video_prob=0.8, fix_interval_prob=0.8, reverse_prob=0.5),
        DepthFilter(max_depth=1000),
        dynamic=True,
    ),
    DataSet(
        "spring",
        {"dynamic": 4, "affine": 3, "online": 3},
        VideoSampler(max_interval=16, video_prob=1.0, fix_interval_prob=1.0),
        dynamic=True,
    ),
)

DATA_SETS: dict[str, DataSet] = {row.name: row for row in _ROWS}
"""Every data set by name."""
