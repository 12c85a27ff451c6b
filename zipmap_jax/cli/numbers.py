"""Parsing and validation of numbers, image sizes and aspect ratios."""

from __future__ import annotations

from zipmap_jax.errors import UserError


def parse_views(text: str) -> tuple[int, ...]:
    """Numbers of views from "5,10,25"; none from an empty text.

    Raises:
      UserError: the text is no list of positive whole numbers.
    """
    try:
        views = tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        views = (0,)
    if any(count < 1 for count in views):
        raise UserError(f"--views takes whole numbers such as 5,10,25, got {text!r}")
    return views


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) from "392x518".

    Raises:
      UserError: the text is no pair of positive whole numbers.
    """
    sides = _pair(text.lower(), "x")
    if sides is None:
        raise UserError(f"--size takes HEIGHTxWIDTH such as 392x518, got {text!r}")
    return sides


def parse_ratio(text: str) -> tuple[int, int]:
    """(width, height) from "4:3".

    Raises:
      UserError: the text is no pair of positive whole numbers.
    """
    sides = _pair(text, ":")
    if sides is None:
        raise UserError(f"--ratio takes aspect ratios like 4:3,3:4,16:9, got {text!r}")
    return sides


def check_counts(**counts: int | None) -> None:
    """Raise UserError for options below 1; None = not given."""
    for name, value in counts.items():
        if value is not None and value < 1:
            flag = name.replace("_", "-")
            raise UserError(f"--{flag} must be at least 1, got {value}: leave it out")


def _pair(text: str, mark: str) -> tuple[int, int] | None:
    try:
        first, second = (int(part) for part in text.split(mark))
    except ValueError:  # not two parts, or not numbers
        return None
    return (first, second) if first > 0 and second > 0 else None
