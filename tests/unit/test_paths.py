"""A path as people write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.core.paths import home_expanded


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home_expanded("~/texts.csv") == tmp_path / "texts.csv"
    assert home_expanded("texts.csv") == Path("texts.csv")


def test_a_name_that_no_user_has_stays_as_written() -> None:
    assert home_expanded("~no-such-user/texts.csv") == Path("~no-such-user/texts.csv")
    assert home_expanded("~0") == Path("~0")
