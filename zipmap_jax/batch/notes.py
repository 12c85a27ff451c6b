"""Warnings of several threads, told with the scene that they are about."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

_HERE = threading.local()


@contextlib.contextmanager
def about(scene: str) -> Iterator[None]:
    """Warnings of this thread belong to a scene."""
    _HERE.scene = scene
    try:
        yield
    finally:
        _HERE.scene = None


@contextlib.contextmanager
def collected() -> Iterator[dict[str, list[str]]]:
    """Warnings by scene, all of them and from all threads; they are shown as well."""
    notes: dict[str, list[str]] = defaultdict(list)
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(message: Warning | str, *details: Any, **more: Any) -> None:
            scene = getattr(_HERE, "scene", None)
            if scene is None:
                shown(message, *details, **more)
                return
            notes[scene].append(str(message))
            shown(UserWarning(f"{scene}: {message}"), *details, **more)

        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield notes
