"""Warnings of several threads, shown with the scene that each is about."""

from __future__ import annotations

import contextlib
import contextvars
import warnings
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

_SCENE: contextvars.ContextVar[str | None] = contextvars.ContextVar("scene", default=None)


@contextlib.contextmanager
def about(scene: str) -> Iterator[None]:
    """Warnings of this context, and of threads that copy it, belong to a scene."""
    token = _SCENE.set(scene)
    try:
        yield
    finally:
        _SCENE.reset(token)


@contextlib.contextmanager
def collected() -> Iterator[dict[str, list[str]]]:
    """Warnings by scene, all of them and from all threads; they are shown as well."""
    notes: dict[str, list[str]] = defaultdict(list)
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(message: Warning | str, *details: Any, **more: Any) -> None:
            scene = _SCENE.get()
            if scene is None:
                shown(message, *details, **more)
                return
            notes[scene].append(str(message))
            shown(UserWarning(f"{scene}: {message}"), *details, **more)

        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield notes
