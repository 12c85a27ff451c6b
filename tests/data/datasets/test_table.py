"""The mixtures against the sums in the specification of the recipe."""

from __future__ import annotations

from typing import Any

import pytest

from zipmap_jax.data.datasets.mixtures import STAGES, mixture
from zipmap_jax.data.datasets.table import DATA_SETS, Stage
from zipmap_jax.data.overlap_sampling import OtherStreamSampler, OverlapMixSampler
from zipmap_jax.data.sampling import IntervalSampler, PoolSampler, VideoSampler, WindowSampler


@pytest.mark.parametrize(
    ("stage", "total", "count"),
    [
        ("static", 1800, 23),
        ("dynamic", 2814, 29),
        ("affine", 2228, 29),
        ("online", 2328, 29),
        ("query", 1085, 14),
        ("debug", 35, 2),
    ],
)
def test_weights_add_up(stage: Stage, total: int, count: int) -> None:
    rows = mixture(stage)
    assert sum(row.weight for row in rows) == total
    assert len(rows) == count


def test_names_are_unique_and_sorted_by_kind() -> None:
    assert len(DATA_SETS) == 29
    assert [data.dynamic for data in DATA_SETS.values()] == [False] * 23 + [True] * 6
    assert sum(data.detailed for data in DATA_SETS.values()) == 22


def test_offline_stages_change_no_sampler() -> None:
    for stage in ("static", "dynamic", "affine", "debug"):
        assert all(r.video_prob is None and r.max_interval is None for r in mixture(stage))


def test_online_runs_prefer_videos() -> None:
    others = {row.name for row in mixture("online") if row.video_prob is None}
    unordered = {"blendedmvs", "co3d", "megadepth", "mp3d", "omniobject3d", "virtual_kitti"}
    assert others == unordered | {"unreal4k"}  # whose reader ignores the setting
    assert {row.video_prob for row in mixture("online")} == {1.0, None}
    assert {row.max_interval for row in mixture("online")} == {None}


def test_the_state_query_uses_slower_videos() -> None:
    rows = {row.name: row for row in mixture("query")}
    assert {name: row.max_interval for name, row in rows.items() if row.max_interval} == {
        "aria_syn_envir": 5,
        "arkitscenes": 3,
        "dl3dv": 10,
        "gta_sfm": 1,
        "hypersim": 2,
        "mapfree": 15,
        "mvs_synth": 1,
        "scannet": 15,
        "scannetpp": 2,
        "tartanair": 8,
        "tartanairv2": 8,
    }
    assert {name for name, row in rows.items() if row.video_prob is None} == {
        "co3d",
        "omniobject3d",
    }


def test_percentiles_of_the_readers() -> None:
    highs = {data.name: data.depth_filter.high for data in DATA_SETS.values()}
    by_value: dict[Any, set[str]] = {}
    for name, high in highs.items():
        by_value.setdefault(high, set()).add(name)
    assert by_value[90] == {"dl3dv", "mapfree", "wildrgbd"}
    assert by_value[95] == {"megadepth"}
    assert by_value[97] == {"blendedmvs"}
    assert by_value[None] == {
        "aria_syn_envir",
        "virtual_kitti",
        "dynamic_replica",
        "bedlam",
        "pointodyssey",
        "spring",
    }
    assert {n for n, data in DATA_SETS.items() if data.depth_filter.low} == {
        "midair",
        "tartanairv2",
    }


def test_weights_name_stages_and_are_positive() -> None:
    for data in DATA_SETS.values():
        assert set(data.weights) <= set(STAGES)
        assert min(data.weights.values()) > 0
    assert DATA_SETS["omniworld_game"].weights == {"dynamic": 500, "affine": 250, "online": 350}
    assert set(DATA_SETS["virtual_kitti"].weights) == set(STAGES) - {"query"}


def test_rows_hold_the_samplers_of_the_readers() -> None:
    samplers = {name: data.sampler for name, data in DATA_SETS.items()}
    assert sum(isinstance(sampler, VideoSampler) for sampler in samplers.values()) == 21
    assert samplers["dl3dv"] == VideoSampler(20, 0.8, 0.5, block=25, start="frame")
    assert samplers["omniobject3d"] == VideoSampler(100, 0.0, 0.5, block=None, start="frame")
    assert samplers["omniworld_game"] == VideoSampler(8, 0.8, 0.8, 24, 0.5, "length")
    assert samplers["spring"] == VideoSampler(16, 1.0, 1.0)
    assert samplers["virtual_kitti"] == WindowSampler(ratio=8)
    assert samplers["co3d"] == samplers["megadepth"] == PoolSampler()
    mapfree, scannetpp = samplers["mapfree"], samplers["scannetpp"]
    assert isinstance(mapfree, OverlapMixSampler)
    assert (mapfree.video_share, mapfree.video) == (0.6, VideoSampler(30, 0.8, 0.5))
    assert isinstance(scannetpp, OtherStreamSampler)
    assert (scannetpp.video_share, scannetpp.video) == (0.7, VideoSampler(3, 0.8, 0.5))


def test_settings_of_a_stage_fit_the_samplers() -> None:
    for stage in STAGES:
        for source in mixture(stage):
            settings = {"video_prob": source.video_prob, "max_interval": source.max_interval}
            settings = {name: value for name, value in settings.items() if value is not None}
            if settings:
                sampler = DATA_SETS[source.name].sampler
                assert isinstance(sampler, IntervalSampler)
                assert isinstance(sampler.with_video(**settings), type(sampler))


def test_unknown_stage() -> None:
    with pytest.raises(ValueError, match="unknown mixture 'warm-up': choose one of static"):
        mixture("warm-up")  # pyright: ignore[reportArgumentType]
