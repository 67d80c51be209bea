"""A prompt lab in the notebook: sentences are edited, labels and figures move at once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from widgets.assets import linked_module
from widgets.prompt_lab_model import FIELD, NAME, NEW_LABEL, present_lab
from widgets.record import frame, heading, section, small
from widgets.view import View
from workbench.core.copy_as import as_command, as_papermill, as_python
from workbench.core.errors import SpecError
from workbench.prompts.lab import PromptLab

if TYPE_CHECKING:
    from workbench.workspace import Workspace

_SHOWN = 12


class PromptLabView(View):
    """Shows a lab: edit the sentences of a label, look at what moves, keep a version."""

    _esm = linked_module("prompt_lab_view.js")

    def __init__(self, lab: PromptLab, workspace: Workspace | None = None, title: str = "") -> None:
        self.lab = lab
        self._workspace = workspace
        self._title = title
        self._begun = self._now = lab.view()
        self._seconds = 0.0
        self._name, self._new_label = "mood", ""
        self._kept = ""
        self._answered = 0
        super().__init__({
            "change": self._change, "add": self._add, "drop": self._drop, "keep": self._keep,
        })  # fmt: skip
        self.refresh()

    def content(self) -> dict[str, Any]:
        """Return the lab with the records that are labelled otherwise than at the beginning."""
        shown = present_lab(
            self._title, self._now, self._begun, self.lab.words, self.lab.metric,
            self.lab.differing(_SHOWN), self._seconds * 1000,
        )  # fmt: skip
        spec = self.lab.spec(self._name or "prompt")
        copies = {
            "python": as_python(spec), "command": as_command(spec), "papermill": as_papermill(spec),
            "note": "",
        }  # fmt: skip
        lab = {**shown, "name": self._name, "new_label": self._new_label, "kept": self._kept,
               "can_keep": self._workspace is not None, "copy": copies}  # fmt: skip
        return {"lab": lab, "answered": self._answered}

    def record(self) -> str:
        """Return the lab as static HTML."""
        shown = self.content()["lab"]
        figure = shown["figure"]
        told = f"{shown['metric']} {figure['value']} ({figure['interval']})" if figure else ""
        labels = [[row["label"], row["raw"], row["percent"]] for row in shown["labels"]]
        moved = [
            [row["text"], row["before"], row["now"], row["truth"]] for row in shown["differing"]
        ]
        return frame([
            heading(f"Prompt lab {shown['title']}", f"{shown['records']} records {told}"),
            section("Label sentences", ["Label", "Sentences", "Share"], labels),
            section("Labelled otherwise now", ["Text", "Before", "Now", "Truth"], moved),
            small(self._kept),
        ])  # fmt: skip

    # -- what a person does -----------------------------------------------------------------------

    def _change(self, message: Mapping[str, Any]) -> None:
        self._answered = int(message.get("edit", self._answered))
        name, raw = str(message["name"]), str(message["raw"])
        if name == NAME:
            self._name = raw.strip()
        elif name == NEW_LABEL:
            self._new_label = raw.strip()
        elif name.startswith(FIELD) and name.removeprefix(FIELD) in self.lab.words:
            self._timed(lambda: self.lab.edit(name.removeprefix(FIELD), raw.splitlines()))

    def _add(self, _message: Mapping[str, Any]) -> None:
        if not self._new_label or self._new_label in self.lab.words:
            raise SpecError("A new label needs a name of its own", next_step="Write one.")
        label, self._new_label = self._new_label, ""
        self._timed(lambda: self.lab.edit(label, [f"This is {label}."]))

    def _drop(self, message: Mapping[str, Any]) -> None:
        self._timed(lambda: self.lab.drop(str(message["label"])))

    def _keep(self, _message: Mapping[str, Any]) -> None:
        if self._workspace is None:
            raise SpecError("The lab has no workspace", next_step="Make it by ws.prompt_lab.")
        made = self._workspace.do(self.lab.spec(self._name or "prompt"))
        self._kept = f"Kept as {made.reference}"

    def _timed(self, work: Any) -> None:
        begun = time.perf_counter()
        self._now = work()
        self._seconds = time.perf_counter() - begun
        self._kept = ""
