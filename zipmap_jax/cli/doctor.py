"""`zipmap doctor`: reports versions, devices and missing packages, and never fails."""

from __future__ import annotations

import dataclasses
import json
import platform
import shutil
from collections.abc import Callable
from importlib import metadata, util
from pathlib import Path
from typing import Any

import zipmap_jax

CORE = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "pillow",
    "av",
    "safetensors",
    "filelock",
)
EXTRAS: dict[str, tuple[str, ...]] = {
    "cuda": ("jax_cuda13_plugin",),
    "data": ("grain",),
    "heic": ("pi_heif",),
    "prepare": ("tensorflow_datasets", "array_record"),
    "hub": ("huggingface_hub",),
    "export": ("flatbuffers",),
    "log": ("tensorboardX",),
    "plot": ("matplotlib",),
}
"""Modules of each extra of the distribution."""

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Doctor:
    """Show versions, devices, extras, weights and free memory.

    Attributes:
      json: print one JSON object instead of text.
    """

    json: bool = False

    def __call__(self) -> int:
        report = {name: _run(check) for name, check in CHECKS.items()}
        print(json.dumps(report) if self.json else "\n".join(_as_text(report)))
        return 0


def versions() -> dict[str, str]:
    """Versions of this package, Python and the core dependencies."""
    out = {"zipmap-jax": zipmap_jax.__version__, "python": platform.python_version()}
    for name in CORE:
        try:
            out[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            out[name] = f"missing: pip install {name}"
    return out


def devices() -> list[str]:
    """Devices of JAX, the default one first."""
    import jax

    return [f"{d.platform} {d.id}: {d.device_kind}" for d in jax.devices()]


def extras() -> dict[str, str]:
    """State of each extra: "installed", or the command that installs it."""
    out = {}
    for extra, modules in EXTRAS.items():
        missing = [name for name in modules if util.find_spec(name) is None]
        command = f'pip install "zipmap-jax[{extra}]"'
        out[extra] = f"{command}  (missing: {', '.join(missing)})" if missing else "installed"
    return out


def weights() -> dict[str, str]:
    """The embedded checkpoints and their sizes."""
    folder = Path(zipmap_jax.__file__).parent / "assets"
    files = sorted(folder.rglob("*.safetensors")) if folder.is_dir() else []
    return {
        file.relative_to(folder).as_posix(): f"{file.stat().st_size / 2**20:.1f} MiB"
        for file in files
    }


def memory() -> dict[str, str]:
    """Free memory of the host and of every accelerator, and free disk space."""
    import jax

    from zipmap_jax.inference.memory import free_memory

    out = {}
    for device in jax.devices():
        on_device, out["host"] = (_gib(size) for size in free_memory(device))
        if device.platform != "cpu":
            out[f"{device.platform} {device.id}"] = on_device
    out["disk"] = _gib(shutil.disk_usage(Path.cwd()).free)
    return out


def compile_cache() -> str:
    """Folder in which the other verbs cache compiled programs."""
    from zipmap_jax.inference.compile import enable_compilation_cache

    return str(enable_compilation_cache() or "off")


CHECKS: dict[str, Callable[[], Any]] = {
    "versions": versions,
    "devices": devices,
    "extras": extras,
    "weights": weights,
    "memory": memory,
    "compile cache": compile_cache,
}


def _run(check: Callable[[], Any]) -> Any:
    # The command is for broken installations, so every error is reported.
    try:
        return check()
    except Exception as error:
        return f"failed: {type(error).__name__}: {error}"


def _gib(size: int | None) -> str:
    return "unknown" if size is None else f"{size / GIB:.1f} GiB free"


def _as_text(report: dict[str, Any]) -> list[str]:
    lines = []
    for name, value in report.items():
        lines.append(name)
        if isinstance(value, dict):
            lines += [f"  {key:<20} {text}" for key, text in value.items()] or ["  none"]
        else:
            lines += [f"  {text}" for text in ([value] if isinstance(value, str) else value)]
    return lines
