"""Which classes a checkpoint card means: its entry `model` names the kind of model.

    register("my_model", ModelKind(read_config, build))

makes `zipmap_jax.load` read checkpoint folders whose card says `"model": "my_model"`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from zipmap_jax.convert.model_config import config_from_dict
from zipmap_jax.convert.rules import Shape, flatten, our_shapes
from zipmap_jax.convert.table import rules
from zipmap_jax.errors import UserError, nearest

if TYPE_CHECKING:
    from zipmap_jax.models.api import Model
    from zipmap_jax.nn.config import Policy

ZIPMAP = "zipmap"
"""The kind of cards without the entry."""


@dataclasses.dataclass(frozen=True)
class ModelKind:
    """How a checkpoint becomes a model.

    Attributes:
      read_config: the card's `config`, a dictionary of JSON values, as the model's configuration.
      build: `(config, policy) -> model`.
      shapes: names and shapes of the parameters, in the order in which they are stored; None =
        those of `Model.init`.
    """

    read_config: Callable[[Mapping[str, Any]], Any]
    build: Callable[[Any, Policy], Model]
    shapes: Callable[[Any], dict[str, Shape]] | None = None

    def parameter_shapes(self, config: Any) -> dict[str, Shape]:
        """Names and shapes of the parameters of a model."""
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
    ZIPMAP: ModelKind(config_from_dict, _build_zipmap, lambda config: our_shapes(rules(config)))
}


def register(name: str, kind: ModelKind) -> None:
    """Make `name` a kind of model that cards may name; replaces an earlier one."""
    _KINDS[name] = kind


def kind_of(card: Mapping[str, Any], where: object = "the card") -> ModelKind:
    """The kind of model of a card.

    Args:
      card: the card.
      where: where it comes from, for the error.

    Raises:
      UserError: nothing of that name is registered.
    """
    name = card.get("model", ZIPMAP)
    if name not in _KINDS:
        raise UserError(
            f"{where} is of a model {name!r}, which this version does not know (nearest: "
            f"{nearest(str(name), _KINDS)}): update zipmap-jax, or correct the entry model"
        )
    return _KINDS[name]
