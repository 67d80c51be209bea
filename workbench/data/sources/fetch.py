"""Fetch a record again: from its provenance back to its raw form, checked by its hash."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.core.errors import DataError, WorkbenchError, nearest_name
from workbench.data.sources.kinds import source_kinds
from workbench.data.sources.source import raw_hash


def fetch_again(record: Mapping[str, Any], *, allowed_hosts: Sequence[str] = ()) -> bytes:
    """Return the raw form of a record (a row of a data set) as its source holds it now.

    The raw form is what its source's kind says: the bytes of a line or row in a text file, the
    text cell of a typed table or database, a page's body, an element's markup. Its provenance
    is enough to find it: the Spec is not needed, but the environment variables that URLs name are.
    Pages of private hosts are fetched from ``allowed_hosts`` only.

    It goes where the record says, with the secrets that the record names: fetch records of data
    sets that you made or trust.

    Raises:
        DataError: the source is gone, the row too, or the raw form is not the one that was read.
        ResourceError: the hub that the record is of cannot be reached.
    """
    provenance = _provenance_of(record)
    place = f"record {record.get('id', '')}, {provenance.get('uri', '')}"
    kinds = {kind.model_fields["kind"].default: kind for kind in source_kinds()}
    kind = kinds.get(provenance.get("kind", ""))
    if kind is None or not hasattr(kind, "fetch"):
        raise DataError(
            f"Records of the kind {provenance.get('kind')!r} cannot be fetched again",
            where=place,
            next_step=nearest_name(str(provenance.get("kind")), kinds)
            if kind is None
            else "Integrate its source again.",
        )
    return fetch_from(kind, provenance, allowed_hosts)


def fetch_from(
    kind: type[Any], provenance: Mapping[str, Any], allowed_hosts: Sequence[str] = ()
) -> bytes:
    """Return the raw form of a record of one kind of source, from what its provenance says.

    Raises:
        DataError: as ``fetch_again``.
    """
    where = json.dumps(dict(provenance))
    try:
        raw: bytes = kind.fetch({**provenance, "allowed_hosts": list(allowed_hosts)})
    except WorkbenchError:
        raise
    except (LookupError, AttributeError, TypeError, ValueError, OSError, ArithmeticError) as error:
        raise DataError(
            f"The record cannot be found again: {type(error).__name__}: {str(error)[:300]}",
            where=where,
            next_step="Integrate the source again.",
        ) from error
    if raw_hash(raw) != provenance.get("hash"):
        raise DataError(
            "The record is not what it was when it was read",
            where=where,
            next_step="Integrate the source again.",
        )
    return raw


def _provenance_of(record: Mapping[str, Any]) -> dict[str, Any]:
    try:
        provenance = json.loads(record["provenance"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError("The record has no provenance that can be read",
                        where=f"record {record.get('id', '')}",
                        next_step="Give a row of a data set that integrate made.",
                        ) from error  # fmt: skip
    return provenance if isinstance(provenance, dict) else {}
