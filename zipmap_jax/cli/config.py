"""`zipmap config`: the configurations of training runs, as they resolve."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Annotated, Literal

from tyro.conf import Positional, Suppress, arg

from zipmap_jax.cli.overrides import apply, flag_values, lines
from zipmap_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Config:
    """List training configurations, or show one with every value it resolves to.

    Any value can be changed on the way: zipmap config show stage1_static --optim.lr 3e-4

    Attributes:
      action: "list" names the configurations, "show" prints one.
      name: of a configuration, or a Python file with get_config(); for "show".
      json: print one JSON object instead of text.
      overrides: flags of the configuration.
    """

    action: Annotated[Positional[Literal["list", "show"]], arg(help_behavior_hint="")]
    name: Annotated[Positional[str], arg(metavar="NAME", help_behavior_hint="")] = ""
    json: bool = False
    overrides: Suppress[tuple[str, ...]] = ()

    def __call__(self) -> int:
        if self.action == "show":
            return self._show()
        if self.name or self.overrides:
            raise UserError("`zipmap config list` takes no name and no values: did you mean show?")
        from zipmap_jax.train.config.registry import available

        found = available()
        if self.json:
            print(json.dumps(found))
        else:
            width = max(map(len, found))
            print("\n".join(f"{name:<{width}}  {about}" for name, about in found.items()))
        return 0

    def _show(self) -> int:
        if not self.name:
            raise UserError("no configuration named: give a name that `zipmap config list` prints")
        from zipmap_jax.config_io import to_json
        from zipmap_jax.train.config.registry import load

        config = apply(load(self.name), flag_values(self.overrides), ("json", "help"))
        print(json.dumps(to_json(config)) if self.json else "\n".join(lines(config)))
        return 0


def split_overrides(args: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Arguments of this verb, and the flags of the configuration with their values.

    The action and the name may follow a flag with one value; after them, every word up to the next
    flag is a value.
    """
    own: list[str] = []
    overrides: list[str] = []
    takes_value = False
    for word in args:
        if word in ("-h", "--help", "--json"):
            own.append(word)
            takes_value = False
        elif word.startswith("--"):
            overrides.append(word)
            takes_value = "=" not in word
        elif takes_value:
            overrides.append(word)
            takes_value = sum(not word.startswith("-") for word in own) == 3
        else:
            own.append(word)
    return own, tuple(overrides)
