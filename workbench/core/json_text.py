"""JSON as the standard knows it: what the database keeps and every client can read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from workbench.core.errors import StageError


def json_text(value: Any) -> str:
    """Return JSON with ``null`` where a figure is NaN or infinite (a loss that diverged)."""
    return json.dumps(_without_nan(value), ensure_ascii=False, allow_nan=False)


def plain(value: dict[str, Any], where: str) -> dict[str, Any]:
    """Return facts as JSON has them; a scalar of numpy or torch becomes the number that it is.

    Raises:
        StageError: something is neither a number nor text nor a list or dict of these.
    """
    try:
        found: dict[str, Any] = json.loads(json.dumps(value, default=_number))
    except (TypeError, ValueError) as error:
        raise StageError(
            f"This cannot be recorded: {error}",
            where=where,
            next_step="Give numbers, texts, and lists or dicts of them.",
        ) from error
    return found


def _number(value: Any) -> Any:
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{value!r:.80} is a {type(value).__name__}")


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    return [_without_nan(item) for item in value] if isinstance(value, list | tuple) else value
