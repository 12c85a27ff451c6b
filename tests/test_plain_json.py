"""No NaN or infinity ends up in a JSON file."""

import json

from zipmap_jax.plain_json import dumps


def test_what_is_not_finite_becomes_null() -> None:
    value = {"a": [1.5, float("nan")], "b": (float("inf"), 2), "c": "NaN"}
    assert json.loads(dumps(value)) == {"a": [1.5, None], "b": [None, 2], "c": "NaN"}
    assert dumps({"x": 1.0}, indent=1) == '{\n "x": 1.0\n}'
