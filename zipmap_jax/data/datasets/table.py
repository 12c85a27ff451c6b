"""The 29 data sets of the published mix, as data: how often, which frames, which depth.

A stage's weights are `len_train` of the reference in thousands. They are mixing weights and nothing
else: a data set is drawn with probability `weight / sum of weights`, an epoch being no more than a
number of steps. Rules of frames and depth are for the readers of these data sets, which are yet to
come.

Source: ZipMap, released training configurations and readers.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

from zipmap_jax.errors import UserError

Stage = Literal["static", "dynamic", "affine", "online", "query", "debug"]
"""The mixtures: stages 1 to 3, both online runs, the state query, the debug run."""

STAGES: tuple[Stage, ...] = get_args(Stage)


@dataclasses.dataclass(frozen=True)
class FrameRule:
    """Which frames of a sequence make a sample.

    Attributes:
      kind: "video", an interval walk; "pool", random members of a set; "mix", a coin flip between
        the two; "walk", along the graph of overlaps; "window", around an anchor; "devices", a walk
        through the other device's images or a subset of the group (ScanNet++).
      start: where a walk begins: any position of a sequence drawn uniformly ("scene") or by its
        length ("length"), or any admissible frame of the whole data set ("frame").
      max_interval: largest gap between two frames of a walk.
      video_prob: share of the walks that keep their order; the others are shuffled.
      fix_prob: share of the videos with one gap throughout.
      block: shuffled walks are permuted within blocks of this many frames; None = altogether.
      reverse: share of the samples put in reverse order.
      walks: of a mix, the share of samples that are walks.
      window: half width of a window, in frames per view.
    """

    kind: Literal["video", "pool", "mix", "walk", "window", "devices"]
    start: Literal["scene", "frame", "length", ""] = ""
    max_interval: int = 25
    video_prob: float = 0.5
    fix_prob: float = 0.5
    block: int | None = 24
    reverse: float = 0.0
    walks: float = 1.0
    window: int = 0


@dataclasses.dataclass(frozen=True)
class DepthRule:
    """Which depths are dropped, in this order; None = no such rule.

    Attributes:
      largest: depths beyond it, in metres or the data set's unit.
      largest_of: the same where it depends on a folder's name.
      high, low: depths above and below these percentiles of the map, invalid zeros included.
    """

    largest: float | None = None
    largest_of: tuple[tuple[str, float], ...] = ()
    high: float | None = None
    low: float | None = None


@dataclasses.dataclass(frozen=True)
class DataSet:
    """One data set.

    Attributes:
      name: also the folder's name below the data root, and the reference's `dataset_name`.
      weights: in the mixtures, in the order of `STAGES`; 0 = not part of that mixture.
      frames: of a sample.
      depth: that is kept.
      detailed: depth dense and sharp enough to supervise normals.
      dynamic: things move.
      always_video: the online and query mixtures set `video_prob` to 1.
      query_interval: `max_interval` in the query mixture; None = the data set's own.
      min_views: sequences with fewer frames are never drawn, whatever the run says; None = as the
        run says.
    """

    name: str
    weights: tuple[int, int, int, int, int, int]
    frames: FrameRule
    depth: DepthRule = DepthRule()
    detailed: bool = True
    dynamic: bool = False
    always_video: bool = True
    query_interval: int | None = None
    min_views: int | None = None


@dataclasses.dataclass(frozen=True)
class MixtureRow:
    """One data set of a mixture; None = the data set's own value."""

    name: str
    weight: float
    video_prob: float | None = None
    max_interval: int | None = None


def mixture(stage: Stage) -> tuple[MixtureRow, ...]:
    """The data sets of a stage, with what the stage changes about their sampling.

    Raises:
      UserError: for an unknown stage.
    """
    if stage not in STAGES:
        raise UserError(f"unknown mixture {stage!r}: choose one of {', '.join(STAGES)}")
    column = STAGES.index(stage)
    rows = []
    for data in DATA_SETS.values():
        if weight := data.weights[column]:
            video = 1.0 if stage in ("online", "query") and data.always_video else None
            interval = data.query_interval if stage == "query" else None
            rows.append(MixtureRow(data.name, float(weight), video, interval))
    return tuple(rows)


def _video(
    start: Literal["scene", "frame", "length"],
    max_interval: int,
    video_prob: float,
    fix_prob: float,
    *,
    block: int | None = 24,
    reverse: float = 0.0,
) -> FrameRule:
    return FrameRule("video", start, max_interval, video_prob, fix_prob, block, reverse)


_ROWS = (
    DataSet(
        "aria_syn_envir",
        (160, 160, 160, 160, 160, 0),
        _video("frame", 10, 0.6, 0.5),
        DepthRule(30),
        query_interval=5,
    ),
    DataSet(
        "arkitscenes",
        (120, 120, 120, 120, 100, 0),
        FrameRule("mix", "scene", 8, 0.8, 0.5, walks=0.5),
        DepthRule(high=98),
        query_interval=3,
    ),
    DataSet(
        "blendedmvs",
        (40, 40, 40, 40, 0, 0),
        FrameRule("walk"),
        DepthRule(high=97),
        always_video=False,
    ),
    DataSet(
        "co3d",
        (180, 160, 160, 160, 160, 0),
        FrameRule("pool"),
        DepthRule(high=98),
        detailed=False,
        always_video=False,
        min_views=24,  # Parity: the reference never hands the run's number to this reader.
    ),
    DataSet(
        "dl3dv",
        (200, 200, 200, 200, 180, 0),
        _video("frame", 20, 0.8, 0.5, block=25),
        DepthRule(high=90),
        detailed=False,
        query_interval=10,
    ),
    DataSet(
        "gta_sfm",
        (15, 15, 15, 15, 15, 0),
        _video("scene", 4, 0.6, 0.5),
        DepthRule(1000, high=99),
        query_interval=1,
    ),
    DataSet(
        "hypersim",
        (40, 40, 40, 40, 40, 0),
        _video("scene", 4, 0.5, 0.5),
        DepthRule(high=99),
        query_interval=2,
    ),
    DataSet(
        "mapfree",
        (40, 40, 40, 40, 40, 0),
        FrameRule("mix", "scene", 30, 0.8, 0.5, walks=0.6),
        DepthRule(400, high=90),
        detailed=False,
        query_interval=15,
    ),
    DataSet(
        "matrixcity",
        (80, 80, 80, 80, 0, 0),
        _video("frame", 3, 0.8, 0.5),
        DepthRule(largest_of=(("aerial", 1000), ("street", 200)), high=99),
    ),
    DataSet(
        "megadepth",
        (20, 20, 20, 20, 0, 0),
        FrameRule("pool"),
        DepthRule(high=95),
        detailed=False,
        always_video=False,
    ),
    DataSet(
        "midair",
        (80, 80, 80, 80, 0, 0),
        _video("frame", 20, 0.8, 0.8),
        DepthRule(200, high=98, low=0.1),
    ),
    DataSet(
        "mp3d",
        (80, 80, 80, 80, 0, 0),
        FrameRule("pool"),
        DepthRule(20, high=99),
        always_video=False,
    ),
    DataSet(
        "mvs_synth",
        (10, 10, 10, 10, 10, 10),
        _video("scene", 4, 0.6, 0.5),
        DepthRule(1000, high=98),
        query_interval=1,
    ),
    DataSet(
        "omniobject3d",
        (60, 60, 60, 60, 60, 0),
        _video("frame", 100, 0.0, 0.5, block=None),
        DepthRule(10, high=99),
        detailed=False,
        always_video=False,
    ),
    DataSet(
        "scannet",
        (90, 80, 80, 80, 60, 0),
        _video("frame", 30, 0.6, 0.6),
        DepthRule(high=98),
        query_interval=15,
    ),
    DataSet(
        "scannetpp",
        (30, 30, 30, 30, 30, 0),
        FrameRule("devices", "scene", 3, 0.8, 0.5, walks=0.7),
        DepthRule(high=98),
        query_interval=2,
    ),
    DataSet(
        "scenenet",
        (120, 120, 120, 120, 0, 0),
        _video("scene", 6, 0.6, 0.5),
        DepthRule(high=99),
    ),
    DataSet(
        "tartanair",
        (40, 40, 40, 40, 40, 0),
        _video("frame", 20, 0.8, 0.8),
        DepthRule(80, high=99),
        query_interval=8,
    ),
    DataSet(
        "tartanairv2",
        (120, 120, 120, 120, 120, 0),
        _video("frame", 20, 0.8, 0.8),
        DepthRule(80, high=99, low=0.1),
        query_interval=8,
    ),
    DataSet(
        "unreal4k",
        (10, 10, 10, 10, 0, 0),
        _video("scene", 2, 0.8, 0.5),
        DepthRule(200, high=98),
        always_video=False,  # Parity: configured in the reference, whose reader ignores it.
    ),
    DataSet(
        "virtual_kitti",
        (25, 25, 25, 25, 0, 25),
        FrameRule("window", window=8),
        DepthRule(80),
        always_video=False,
    ),
    DataSet(
        "waymo",
        (100, 100, 100, 100, 0, 0),
        _video("frame", 6, 0.9, 0.9),
        DepthRule(80, high=98),
        detailed=False,
    ),
    DataSet(
        "wildrgbd",
        (140, 70, 70, 70, 70, 0),
        _video("frame", 25, 0.5, 0.5, block=None),
        DepthRule(2, high=90),
        detailed=False,
    ),
    DataSet(
        "bedlam",
        (0, 120, 60, 60, 0, 0),
        _video("scene", 4, 0.8, 0.8, reverse=0.5),
        DepthRule(200),
        dynamic=True,
    ),
    DataSet(
        "kubric",
        (0, 300, 120, 120, 0, 0),
        _video("scene", 8, 0.8, 0.5, reverse=0.5),
        DepthRule(30, high=99),
        dynamic=True,
    ),
    DataSet(
        "dynamic_replica",
        (0, 120, 60, 60, 0, 0),
        _video("scene", 16, 0.8, 0.8, reverse=0.5),
        dynamic=True,
    ),
    DataSet(
        "omniworld_game",
        (0, 500, 250, 350, 0, 0),
        _video("length", 8, 0.8, 0.8, reverse=0.5),
        DepthRule(high=99),
        dynamic=True,
    ),
    DataSet(
        "pointodyssey",
        (0, 70, 35, 35, 0, 0),
        _video("scene", 4, 0.8, 0.8, reverse=0.5),
        DepthRule(1000),
        dynamic=True,
    ),
    DataSet(
        "spring",
        (0, 4, 3, 3, 0, 0),
        _video("scene", 16, 1.0, 1.0),
        dynamic=True,
    ),
)

DATA_SETS: dict[str, DataSet] = {row.name: row for row in _ROWS}
"""Every data set by name."""
