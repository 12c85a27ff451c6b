"""`zipmap config`: lists and shows training configurations."""

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
    """List training configurations, or show one with all its values.

    Flags change values: zipmap config show stage1_static --optim.lr 3e-4

    Attributes:
      action: "list" prints the names, "show" prints one configuration.
      name: configuration to show, or a Python file with get_config().
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

        summaries = available()
        if self.json:
            print(json.dumps(summaries))
        else:
            width = max(map(len, summaries))
            print("\n".join(f"{name:<{width}}  {text}" for name, text in summaries.items()))
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
    """Split the arguments of this verb from the configuration's flags and their values.

    Before the action and the name, a flag has one value; after them, all words up to the next flag.
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
