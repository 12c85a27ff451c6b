"""Loading of models by name, from a folder, from a file, or from the Hugging Face Hub."""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from zipmap_jax.convert.checkpoint import CARD, WEIGHTS, make_card, map_folder
from zipmap_jax.convert.registry import kind_of
from zipmap_jax.convert.rules import Params, nest
from zipmap_jax.convert.torch_state import open_zipmap
from zipmap_jax.errors import MissingPackageError, UserError
from zipmap_jax.nn.config import Policy

if TYPE_CHECKING:
    from zipmap_jax.models.api import Model

ASSETS = Path(__file__).parents[1] / "assets"
_SCHEME = "hf://"
_SAMPLE = 1024
_FILES = (".pt", ".pth", ".bin", ".safetensors")


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A model with its parameters.

    Attributes:
      model: architecture and number formats.
      params: nested parameter tree on the default device, in fp32 except for the matrices that the
        model's policy rounds at every use (see `Model.stored_format`).
      card: origin, licence and configuration of the parameters.
    """

    model: Model
    params: Params
    card: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that identify the weights independently of their format.

        They depend on the first elements of every parameter, all of which change in training.
        """
        digest = hashlib.sha256()
        for leaf in jax.tree.leaves(jax.device_get(_beginnings(self.params))):
            digest.update(leaf.tobytes())
        return digest.hexdigest()[:12]


@jax.jit
def _beginnings(params: Params) -> Params:
    """The first elements of every parameter, in bf16."""
    return jax.tree.map(lambda x: x.reshape(-1)[:_SAMPLE].astype(jnp.bfloat16), params)


@dataclasses.dataclass(frozen=True)
class CheckpointSource:
    """A checkpoint whose names and shapes are checked and whose parameters are not yet read.

    Attributes:
      config: configuration of the model.
      card: see `make_card`.
      leaves: paths and arrays, read lazily.
    """

    config: Any
    card: dict[str, Any]
    leaves: Iterator[tuple[str, np.ndarray]]

    def model(self, policy: Policy) -> Model:
        """The model of the card, without parameters.

        Args:
          policy: number formats of the computation.

        Returns:
          The model.
        """
        return kind_of(self.card).build(self.config, policy)


def load(
    name_or_path: str | Path, *, policy: Policy | None = None, ema: bool = False
) -> LoadedModel:
    """Loads a model.

    Args:
      name_or_path: name of an embedded model ("tiny"), a checkpoint folder, a `.pt` or
        `.safetensors` file of the reference (converted in memory), or
        `hf://owner/repository/file[@revision]` for a folder or file on the Hugging Face Hub. The
        name of an embedded model has priority over a folder of that name, which is `./tiny`.
      policy: number formats of the computation; None = fp32.
      ema: whether the averaged weights of a `.pt` file are loaded.

    Returns:
      The model, its parameters and its card.

    Raises:
      UserError: the name does not exist, or the checkpoint is damaged, incomplete or not ZipMap's.
      OSError: a file cannot be read.
      MissingPackageError: `huggingface_hub` is needed and not installed.
    """
    from zipmap_jax.nn.config import FP32

    source = find(name_or_path, ema=ema)
    for note in source.card["notes"]:
        warnings.warn(f"{name_or_path}: {note}", stacklevel=2)
    model = source.model(policy or FP32)
    params = nest(
        {name: jnp.asarray(leaf, model.stored_format(name)) for name, leaf in source.leaves}
    )
    return LoadedModel(model, params, source.card)


def find(name_or_path: str | Path, *, ema: bool = False) -> CheckpointSource:
    """Locates and checks a checkpoint without reading its parameters.

    Args:
      name_or_path: see `load`.
      ema: see `load`.

    Returns:
      The checkpoint.

    Raises:
      UserError, OSError: see `load`.
    """
    text = str(name_or_path)
    if not text:
        raise UserError(f"the name of the model is empty ({_available()}): give one")
    if text.startswith(_SCHEME):
        path = _download(text)
    else:
        path = embedded(text) or Path(text).expanduser()
    if path.name == WEIGHTS and (path.parent / CARD).is_file():
        path = path.parent
    if (path / "model" / CARD).is_file():  # the working directory of a training run
        path = path / "model"
    if path.is_dir():
        return _from_folder(path, ema)
    if path.is_file():
        return _from_file(path, ema)
    raise UserError(
        f"{text} is neither a file, a folder, nor an embedded model "
        f"({_available()}): check the spelling"
    )


def embedded(name: str) -> Path | None:
    """Folder of an embedded model.

    Args:
      name: name of the model.

    Returns:
      The folder; None if no embedded model has this name.
    """
    return ASSETS / name if name in _names() else None


def _names() -> list[str]:
    return sorted(path.parent.name for path in ASSETS.glob(f"*/{CARD}"))


def _available() -> str:
    names = _names()
    return f"available: {', '.join(names)}" if names else "none is installed"


def _from_folder(folder: Path, ema: bool) -> CheckpointSource:
    if ema:
        raise UserError(
            f"{folder} holds one set of weights: convert its source with ema to use the averaged "
            "ones"
        )
    flat, config, card = map_folder(folder)
    # JAX arrays must not alias a file that may be overwritten, hence the copies.
    leaves = ((name, np.array(leaf, np.float32)) for name, leaf in flat.items())
    return CheckpointSource(config, {"notes": [], **card}, leaves)


def _from_file(path: Path, ema: bool) -> CheckpointSource:
    model = open_zipmap(path, ema=ema)
    origin = {"file": path.name, "weights": "ema" if ema else "model"}
    card = make_card(model.config, source=origin, notes=model.notes)
    return CheckpointSource(model.config, card, model.leaves())


def _download(address: str) -> Path:
    owner, repository, name, revision = _parse(address)
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise MissingPackageError(
            f"{address} needs the package huggingface_hub: pip install 'zipmap-jax[hub]'"
        ) from error

    def fetch(file: str) -> Path:
        return Path(hf_hub_download(f"{owner}/{repository}", file, revision=revision))

    try:
        if name.endswith(_FILES):
            return fetch(name)
        prefix = f"{name}/" if name else ""
        fetch(prefix + CARD)
        return fetch(prefix + WEIGHTS).parent
    except Exception as error:  # the library raises errors of many types, also of its transport
        reason = next(iter(str(error).strip().splitlines()), "no reason given")
        raise UserError(
            f"could not fetch {address} ({type(error).__name__}: {reason}): check the address, "
            "your access and the network"
        ) from error


def _parse(address: str) -> tuple[str, str, str, str | None]:
    body, _, revision = address.removeprefix(_SCHEME).partition("@")
    parts = body.strip("/").split("/")
    if len(parts) < 2 or not all(parts):
        raise UserError(f"{address} must read hf://owner/repository/file[@revision]: complete it")
    return parts[0], parts[1], "/".join(parts[2:]), revision or None
