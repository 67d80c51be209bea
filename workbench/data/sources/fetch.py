"""Fetch a record again: from its provenance back to its raw form, checked by its hash."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from workbench.core.errors import DataError, nearest_name
from workbench.data.sources.kinds import source_kinds
from workbench.data.sources.source import raw_hash


def fetch_again(record: Mapping[str, Any]) -> bytes:
    """Return the raw form of a record (a row of a data set) as its source holds it now.

    The raw form is what its source's kind says: the bytes of a line or row in a text file, the
    text cell of a typed table or database, a page's body, an element's markup.

    Raises:
        DataError: the source is gone, the row too, or the raw form is not the one that was read.
    """
    provenance: dict[str, Any] = json.loads(record["provenance"])
    place = f"record {record.get('id', '')}, {provenance.get('uri', '')}"
    kinds = {kind.model_fields["kind"].default: kind for kind in source_kinds()}
    kind = kinds.get(provenance.get("kind", ""))
    if kind is None or not hasattr(kind, "fetch"):
        raise DataError(
            f"Records of the kind {provenance.get('kind')!r} cannot be fetched again",
            where=place,
            next_step=nearest_name(str(provenance.get("kind")), kinds)
            if kind is None
            else "Give that kind of source a method fetch.",
        )
    return fetch_from(kind, provenance)


def fetch_from(kind: type[Any], provenance: Mapping[str, Any]) -> bytes:
    """Return the raw form of a record of one kind of source, from what its provenance says.

    Raises:
        DataError: as ``fetch_again``.
    """
    raw: bytes = kind.fetch(provenance)
    if raw_hash(raw) != provenance.get("hash"):
        raise DataError(
            "The record is not what it was when it was read",
            where=json.dumps(dict(provenance)),
            next_step="Integrate the source again.",
        )
    return raw
