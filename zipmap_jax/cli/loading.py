"""A model by name, in the number format that suits the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from zipmap_jax.convert.hub import LoadedModel
    from zipmap_jax.nn.config import Policy

Precision = Literal["auto", "fp32", "bf16"]


def load_model(name: str, precision: Precision) -> LoadedModel:
    """The model called `name`; also starts to keep compiled programs on disk.

    Args:
      name: "tiny", a converted folder, or hf://owner/repo/file@revision.
      precision: see `policy_for`.

    Raises:
      UserError: there is no such model.
    """
    from zipmap_jax.convert.hub import load
    from zipmap_jax.inference.compile import enable_compilation_cache

    enable_compilation_cache()
    return load(name, policy=policy_for(precision))


def policy_for(precision: Precision) -> Policy:
    """Number formats; "auto" is fp32 on the CPU, where bf16 is slow, and bf16 elsewhere."""
    import jax

    from zipmap_jax.nn.config import POLICIES

    if precision == "auto":
        precision = "fp32" if jax.default_backend() == "cpu" else "bf16"
    return POLICIES[precision]
