"""How values are written into JSON columns."""

import json
from typing import Any


class JsonText(str):
    """A JSON value that is written as text already; goes into JSON columns as it is."""

    __slots__ = ()


def json_text(value: Any) -> str:
    """What engines write JSON columns with."""
    return str(value) if isinstance(value, JsonText) else json.dumps(value)
