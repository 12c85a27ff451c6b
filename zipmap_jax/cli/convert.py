"""`zipmap convert`: converts PyTorch checkpoints to checkpoint folders and back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from zipmap_jax.cli.options import Out
from zipmap_jax.streams import print_result


@dataclasses.dataclass(frozen=True)
class Convert:
    """Convert a checkpoint of the PyTorch model, or write one.

    Attributes:
      checkpoint: .pt or .safetensors file; with --to torch a converted folder or "tiny".
      out: folder to write; with --to torch the .pt file.
      to: format to write.
      variant: variant of the model, for checkpoints whose tensors do not determine it.
      ema: convert the averaged weights.
      lpips: vgg.pth of the lpips package, to convert torchvision's VGG-16 in CHECKPOINT to the
        weights of the perceptual loss.
      share_with: folder that stays in its place and provides tensors, left out of the copy of the
        converted folder CHECKPOINT.
      dtype: number format of the result.
      force: replace OUT if it exists.
      json: print one JSON object instead of text.
    """

    checkpoint: Annotated[Positional[Path], arg(metavar="CHECKPOINT", help_behavior_hint="")]
    out: Out
    to: Literal["zipmap", "torch"] = "zipmap"
    variant: Annotated[
        Literal["offline", "ref_view", "streaming", "state_query"] | None,
        arg(
            metavar="{offline,ref_view,streaming,state_query}",
            help_behavior_hint="(default: recognised)",
        ),
    ] = None
    ema: bool = False
    lpips: Annotated[Path | None, arg(metavar="VGG.pth", help_behavior_hint="")] = None
    share_with: Annotated[str | None, arg(metavar="FOLDER", help_behavior_hint="")] = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    force: bool = False
    json: bool = False

    def __call__(self) -> int:
        from zipmap_jax.convert.command import convert_command

        report = convert_command(
            self.checkpoint,
            self.out,
            to=self.to,
            variant=self.variant,
            ema=self.ema,
            dtype=self.dtype,
            force=self.force,
            lpips=self.lpips,
            share_with=self.share_with,
        )
        if self.json:
            print_result(json.dumps({"report": report.splitlines(), "out": str(self.out)}))
        else:
            print_result(f"{report}\n{self.out}")
        return 0
