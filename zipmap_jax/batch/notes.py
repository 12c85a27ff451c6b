"""Warnings of several threads, attributed to scenes."""

from __future__ import annotations

import contextlib
import contextvars
import warnings
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from zipmap_jax.images.current import with_picture

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

        def show(
            message: Warning | str, category: type[Warning], filename: str, *args: Any, **kw: Any
        ) -> None:
            scene = _SCENE.get()
            if scene is None:
                show_plain(message, category, filename, *args, **kw)
                return
            text = with_picture(str(message), category, filename)
            if text is not None and text not in notes[scene]:
                notes[scene].append(text)
                show_plain(UserWarning(f"{scene}: {text}"), UserWarning, __file__, *args, **kw)

        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield notes
