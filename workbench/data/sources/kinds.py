"""All kinds of source: the shipped ones, and those of installed packages."""

from __future__ import annotations

from functools import reduce
from importlib.metadata import entry_points
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from workbench.data.sources.arrow import ArrowSource
from workbench.data.sources.csv import CsvSource
from workbench.data.sources.html import HtmlSource
from workbench.data.sources.huggingface import HuggingfaceSource
from workbench.data.sources.jsonl import JsonlSource, JsonSource
from workbench.data.sources.lines import LinesSource
from workbench.data.sources.parquet import ParquetSource
from workbench.data.sources.source import SOURCE_GROUP, Source
from workbench.data.sources.sql import SqlSource
from workbench.data.sources.texts import TextsSource
from workbench.data.sources.user_source import UserSource
from workbench.data.sources.warc import WarcSource
from workbench.data.sources.web import WebSource

_SHIPPED = (
    CsvSource, JsonlSource, JsonSource, ParquetSource, ArrowSource, LinesSource, TextsSource,
    SqlSource, HtmlSource, WarcSource, WebSource, HuggingfaceSource, UserSource,
)  # fmt: skip


def source_kinds() -> list[type[Any]]:
    """Return the shipped kinds of source, then the installed ones (group ``workbench.sources``)."""
    return [*_SHIPPED, *(entry.load() for entry in entry_points(group=SOURCE_GROUP))]


if TYPE_CHECKING:
    AnySource = Source
else:
    AnySource = Annotated[reduce(or_, source_kinds()), Field(discriminator="kind")]
