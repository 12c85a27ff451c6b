"""`zipmap` and `python -m zipmap_jax`: the command line, which imports on its first use."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; an interrupt while it is imported needs no traceback."""
    try:
        from zipmap_jax.cli.main import main as run
    except KeyboardInterrupt:
        sys.stderr.write("zipmap: interrupted\n")
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
