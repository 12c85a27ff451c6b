"""Loading of a model by name, in the number format for the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from zipmap_jax.convert.hub import LoadedModel
    from zipmap_jax.nn.config import Policy

Precision = Literal["auto", "fp32", "bf16"]


def load_model(name: str, precision: Precision) -> LoadedModel:
    """Load a model and enable the compilation cache.

    Args:
      name: "tiny", a converted folder, or hf://owner/repo/file@revision.
      precision: see `number_format`.

    Raises:
      UserError: the model does not exist.
    """
    from zipmap_jax.convert.hub import load
    from zipmap_jax.inference.compile import enable_compilation_cache

    enable_compilation_cache()
    return load(name, policy=policy_for(precision))


def policy_for(precision: Precision) -> Policy:
    """The number formats of a precision, see `number_format`."""
    from zipmap_jax.nn.config import POLICIES

    return POLICIES[number_format(precision)]


def number_format(precision: Precision) -> Literal["fp32", "bf16"]:
    """The precision; "auto" is fp32 on the CPU, where bf16 is slow, and bf16 elsewhere."""
    if precision != "auto":
        return precision
    import jax

    return "fp32" if jax.default_backend() == "cpu" else "bf16"
