"""Warnings of several threads, attributed to scenes."""

from __future__ import annotations

import contextlib
import contextvars
import warnings
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

_SCENE: contextvars.ContextVar[str | None] = contextvars.ContextVar("scene", default=None)


@contextlib.contextmanager
def attribute_warnings(scene: str) -> Iterator[None]:
    """Attribute the warnings of this context, and of threads that copy it, to a scene."""
    token = _SCENE.set(scene)
    try:
        yield
    finally:
        _SCENE.reset(token)


@contextlib.contextmanager
def collect_warnings() -> Iterator[dict[str, list[str]]]:
    """Collect the warnings of all threads by scene, and show them with its name."""
    notes: dict[str, list[str]] = defaultdict(list)
    with warnings.catch_warnings():
        show_plain = warnings.showwarning

        def show(message: Warning | str, *args: Any, **kwargs: Any) -> None:
            scene = _SCENE.get()
            if scene is None:
                show_plain(message, *args, **kwargs)
                return
            notes[scene].append(str(message))
            show_plain(UserWarning(f"{scene}: {message}"), *args, **kwargs)

        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield notes
