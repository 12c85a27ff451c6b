"""Kinds of models, by the entry `model` of checkpoint cards.

    register("my_model", ModelKind(read_config, build))

enables `zipmap_jax.load` for checkpoint folders whose card contains `"model": "my_model"`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from zipmap_jax.config_io import from_json
from zipmap_jax.convert.rules import Shape, flatten, our_shapes
from zipmap_jax.convert.table import rules
from zipmap_jax.errors import UserError, nearest
from zipmap_jax.models.config import ZipMapConfig

if TYPE_CHECKING:
    from zipmap_jax.models.api import Model
    from zipmap_jax.nn.config import Policy

ZIPMAP = "zipmap"
"""The kind of cards without the entry `model`."""


@dataclasses.dataclass(frozen=True)
class ModelKind:
    """Functions that make a model from a checkpoint card.

    Attributes:
      read_config: converts the card's `config`, a dictionary of JSON values, to the model's
        configuration.
      build: returns the model of a configuration and a policy.
      shapes: returns the names and shapes of the parameters of a configuration, in the order in
        which they are stored; None = those of `Model.init`.
    """

    read_config: Callable[[Mapping[str, Any]], Any]
    build: Callable[[Any, Policy], Model]
    shapes: Callable[[Any], dict[str, Shape]] | None = None

    def parameter_shapes(self, config: Any) -> dict[str, Shape]:
        """Names and shapes of the parameters of a model.

        Args:
          config: configuration of the model.

        Returns:
          Shapes by path, in the order in which they are stored.
        """
        if self.shapes is not None:
            return self.shapes(config)
        import jax

        from zipmap_jax.nn.config import FP32

        tree = jax.eval_shape(self.build(config, FP32).init, jax.random.key(0))
        return {name: tuple(leaf.shape) for name, leaf in flatten(tree).items()}


def _build_zipmap(config: Any, policy: Policy) -> Model:
    from zipmap_jax.models.zipmap import ZipMap

    return ZipMap(config, policy=policy)


_KINDS: dict[str, ModelKind] = {
    ZIPMAP: ModelKind(
        read_config=lambda data: from_json(ZipMapConfig, data, "config"),
        build=_build_zipmap,
        shapes=lambda config: our_shapes(rules(config)),
    )
}


def register(name: str, kind: ModelKind) -> None:
    """Registers a kind of model, which replaces an earlier one of the same name.

    Args:
      name: entry `model` of the cards.
      kind: functions that make the model.
    """
    _KINDS[name] = kind


def kind_of(card: Mapping[str, Any], where: object = "the card") -> ModelKind:
    """The kind of model of a card.

    Args:
      card: the card.
      where: description of the card in the error message.

    Returns:
      The registered kind.

    Raises:
      UserError: the card's entry `model` is not registered.
    """
    name = card.get("model", ZIPMAP)
    if not isinstance(name, str) or name not in _KINDS:
        raise UserError(
            f"{where} is of an unknown model {name!r} (nearest: "
            f"{nearest(str(name), _KINDS)}): update zipmap-jax, or correct the entry model"
        )
    return _KINDS[name]
