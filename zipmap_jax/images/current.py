"""The picture that this thread decodes, for warnings of libraries that do not name it."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from pathlib import Path

_PICTURE: contextvars.ContextVar[Path | None] = contextvars.ContextVar("picture", default=None)


@contextlib.contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Attribute the warnings of Pillow in this context to a file."""
    before = _PICTURE.get()
    _PICTURE.set(path)
    try:
        yield
    finally:
        _PICTURE.set(before)  # no token: a generator may end in another context than it began


def with_picture(message: str, category: type[Warning], source: str) -> str | None:
    """The text of a warning with the name of the picture that is decoded.

    Args:
      message, category: of the warning.
      source: file of the code that issued it.

    Returns:
      The text; None for the warning that a picture is large, which has no consequence here.
    """
    path = _PICTURE.get()
    if path is None or "PIL" not in Path(source).parts:
        return message
    if category.__name__ == "DecompressionBombWarning":
        return None
    return f"{path}: {message.strip().rstrip('.')}: this is ignored"
