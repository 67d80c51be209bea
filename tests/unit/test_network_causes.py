"""Which failures of a network pass by themselves."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from workbench.core.errors import Cause, DataError
from workbench.data.sources.jsonl import JsonlSource
from workbench.data.sources.locations import Storage
from workbench.data.sources.network import cause_of


class EndpointConnectionError(Exception):
    """As botocore calls it."""


class HfHubHTTPError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(f"{status}")
        self.response = SimpleNamespace(status_code=status)


def wrapped(inner: Exception) -> Exception:
    outer = OSError("it cannot be had")
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ConnectionResetError(), True), (TimeoutError(), True), (EndpointConnectionError(), True),
        (wrapped(EndpointConnectionError()), True), (HfHubHTTPError(503), True),
        (HfHubHTTPError(404), False), (FileNotFoundError(), False), (PermissionError(), False),
        (wrapped(ValueError()), False),
    ],
)  # fmt: skip
def test_what_may_be_back_soon_is_told_from_what_is_wrong(error: Exception, passes: bool) -> None:
    assert cause_of(error) == (Cause.UNREACHABLE if passes else None)


def test_a_source_behind_a_network_that_fails_is_tried_again_and_a_missing_file_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def cause() -> Cause | None:
        source = JsonlSource.parse({"name": "far", "path": "memory://far/*.jsonl"})
        with pytest.raises(DataError) as told:
            list(source.read())
        return told.value.cause

    assert cause() is None

    def fail(_storage: Storage) -> None:
        raise EndpointConnectionError("nobody there")

    monkeypatch.setattr(Storage, "_match", fail)
    assert cause() == Cause.UNREACHABLE
