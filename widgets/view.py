"""What every view is: whole snapshots go out with a number, intents come in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import anywidget
import traitlets

from widgets.assets import stylesheet
from workbench.core.errors import error_from_exception

Intent = Callable[[Mapping[str, Any]], None]


class View(anywidget.AnyWidget):  # type: ignore[misc]
    """A widget that shows snapshots (plain JSON values) and answers intents by name.

    Snapshots are whole, so one that is lost is made good by the next. Each also has a record: the
    same as static HTML, for readers without a kernel.
    """

    _css = stylesheet()
    snapshot = traitlets.Dict().tag(sync=True)

    def __init__(self, intents: Mapping[str, Intent]) -> None:
        super().__init__()
        self._intents = dict(intents)
        self._lock = threading.RLock()  # intents and watchers come from threads of their own
        self._notice = ""
        self.on_msg(self._receive)

    def content(self) -> dict[str, Any]:
        """Return what shall be shown now."""
        raise NotImplementedError

    def record(self) -> str:
        """Return what is shown now as static, escaped HTML."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Send a new snapshot."""
        with self._lock:
            number = self.snapshot.get("seq", 0) + 1
            self.snapshot = {**self.content(), "notice": self._notice, "seq": number}

    def _receive(self, _widget: object, message: Any, _buffers: object) -> None:
        """Do what the person asked; what goes wrong is shown to them."""
        intent = message.get("intent") if isinstance(message, dict) else None
        if intent not in self._intents:
            return  # a newer or foreign page: nothing it may not already know how to ask
        try:
            self._notice = ""
            self._intents[intent](message)
        except Exception as error:
            told = error_from_exception(error, where=f"view {type(self).__name__}")
            self._notice = f"{told.what}. {told.next_step}".strip()
        self.refresh()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Offer the live view, and the record to readers that have none."""
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {**data, "text/html": self.record()}, metadata
