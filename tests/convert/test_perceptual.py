"""LPIPS weights from the published files."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zipmap_jax.cli.main import main
from zipmap_jax.convert.checkpoint import CARD, WEIGHTS
from zipmap_jax.convert.command import convert_command
from zipmap_jax.convert.perceptual import from_states, is_perceptual, read_perceptual, rules
from zipmap_jax.convert.rules import flatten, our_shapes, torch_shapes
from zipmap_jax.convert.torch_writer import write_torch
from zipmap_jax.losses.perceptual import Vgg

State = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def vgg() -> State:
    """torchvision's VGG-16, numbered instead of trained; its classifier shortened."""
    shapes = {n: s for n, s in torch_shapes(rules()).items() if n.startswith("features.")}
    state = {n: np.full(s, i, np.float32) for i, (n, s) in enumerate(shapes.items())}
    first = state["features.0.weight"]
    state["features.0.weight"] = np.arange(first.size, dtype=np.float32).reshape(first.shape)
    return state | {"classifier.0.weight": np.zeros((2, 3), np.float32)}


@pytest.fixture(scope="module")
def linear() -> State:
    widths = (64, 128, 256, 512, 512)
    return {
        f"lin{i}.model.1.weight": np.arange(w, dtype=np.float32).reshape(1, w, 1, 1)
        for i, w in enumerate(widths)
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, vgg: State, linear: State) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_torch(folder / "vgg16.pth", vgg)
    write_torch(folder / "lin.pth", linear)
    return folder


def test_table_is_the_network() -> None:
    """Names and shapes as torchvision documents them, and as our network declares them."""
    shapes = torch_shapes(rules())
    assert len(shapes) == 2 * 13 + 5
    assert sum(int(np.prod(s)) for n, s in shapes.items() if "features" in n) == 14_714_688
    image = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
    declared = jax.eval_shape(Vgg().init, jax.random.key(0), image)["params"]
    ours = {n: s for n, s in our_shapes(rules()).items() if n.startswith("vgg/")}
    assert {f"vgg/{n}": leaf.shape for n, leaf in flatten(declared).items()} == ours


def test_two_files_become_one_folder(files: Path, vgg: State, tmp_path: Path) -> None:
    out = tmp_path / "lpips"
    argv = ["convert", str(files / "vgg16.pth"), "--lpips", str(files / "lin.pth")]
    assert main([*argv, "--out", str(out)]) == 0
    params = read_perceptual(out)
    kernel = params["vgg"]["stage0_conv0"]["kernel"]
    np.testing.assert_array_equal(kernel, vgg["features.0.weight"].transpose(2, 3, 1, 0))
    assert params["vgg"]["stage4_conv2"]["bias"][7] == vgg["features.28.bias"][7]
    np.testing.assert_array_equal(params["linear"]["stage3"]["kernel"].ravel(), np.arange(512))
    card = json.loads((out / CARD).read_text())
    assert card["kind"] == "lpips-vgg16"
    assert set(card["source"]) == {"vgg16.pth", "lin.pth"}
    with pytest.raises(ValueError, match=f"already holds {WEIGHTS}"):
        convert_command(files / "vgg16.pth", out, lpips=files / "lin.pth")


def test_state_dict_of_the_whole_network(vgg: State, linear: State) -> None:
    last = {4: 1, 9: 2, 16: 3, 23: 4, 30: 5}  # first module after each slice

    def sliced(name: str) -> str:
        number = int(name.split(".")[1])
        part = next(i for end, i in last.items() if number < end)
        return name.replace("features.", f"net.slice{part}.")

    whole = {sliced(n): x for n, x in vgg.items() if n.startswith("features.")} | linear
    whole |= {n.replace("lin", "lins."): x for n, x in linear.items()}
    whole["scaling_layer.shift"] = np.zeros((1, 3, 1, 1), np.float32)
    assert is_perceptual(whole)
    one, two = flatten(from_states(whole)), flatten(from_states(vgg, linear))
    assert one.keys() == two.keys()
    for name, leaf in one.items():
        np.testing.assert_array_equal(leaf, two[name])


def test_incomplete_and_other_networks(
    files: Path, vgg: State, linear: State, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"needs the linear layers .* add the lpips package"):
        convert_command(files / "vgg16.pth", tmp_path / "out")
    with pytest.raises(ValueError, match=r"needs VGG-16 .* pass torchvision's vgg16"):
        convert_command(files / "lin.pth", tmp_path / "out")
    with pytest.raises(ValueError, match="leave variant and ema out"):
        convert_command(files / "vgg16.pth", tmp_path / "out", variant="offline")
    assert not (tmp_path / "out").exists()
    deeper = vgg | {"features.34.weight": np.zeros((512, 512, 3, 3), np.float32)}
    with pytest.raises(ValueError, match=r"1 unexpected \(features\.34\.weight\).*not vgg16_bn"):
        from_states(deeper, linear)


def test_folders_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no model\.safetensors: make it with zipmap convert"):
        read_perceptual(tmp_path)


def test_lpips_goes_with_vgg_only(tmp_path: Path, state: State, files: Path) -> None:
    write_torch(tmp_path / "zipmap.pt", state)
    with pytest.raises(ValueError, match="is no VGG-16, which lpips belongs to"):
        convert_command(tmp_path / "zipmap.pt", tmp_path / "out", lpips=files / "lin.pth")
