"""The form of a stage: derived from its Spec, checked as it is filled, run from where it stands."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from widgets.assets import linked_module
from widgets.catalogue import Catalogue, catalogue_of
from widgets.form_model import FormModel, check, form_like, new_form
from widgets.form_presenter import present
from widgets.record import form_record
from widgets.view import Intent, View
from widgets.watcher import RunWatcher
from workbench.core.errors import SpecError, WorkbenchError
from workbench.core.presets import watch
from workbench.core.registry import Stage, load_stage, stage_of
from workbench.core.spec import Spec
from workbench.core.workers import DEFAULT_WORKERS, WorkersWish

if TYPE_CHECKING:
    from workbench.runs import Run
    from workbench.workspace import Workspace

WISHES = ("pause", "resume", "cancel")


def form_of(
    target: str | type[Spec] | Spec | Any,
    workers: WorkersWish = DEFAULT_WORKERS,
    priority: int = 0,
    **prefilled: Any,
) -> FormModel:
    """Return the form of a stage's name, a stage function, a Spec class, or a Spec to start from.

    Raises:
        SpecError: there is no such stage, or a prefilled name is no field of it.
    """
    options: dict[str, Any] = {"workers": workers, "priority": priority}
    if isinstance(target, str):
        target = load_stage(target)
    stage = target if isinstance(target, Stage) else getattr(target, "stage", None)
    if isinstance(stage, Stage):
        return new_form(
            stage.spec, title=stage.title, help=stage.help, prefilled=prefilled, **options
        )
    if isinstance(target, Spec):
        form = form_like(target, prefilled, **options, **_titles(target))
    elif isinstance(target, type) and issubclass(target, Spec):
        form = new_form(target, prefilled=prefilled, **options)
    else:
        raise SpecError(f"{target!r} is no stage and no Spec", where="form",
                        next_step="Give a stage's name, a Spec class or a Spec.")  # fmt: skip
    return form


def _titles(spec: Spec) -> dict[str, str]:
    stage = stage_of(spec)
    return {"title": stage.title, "help": stage.help}


class FormSession:
    """A form being filled, with what the workspace offers to fill it with."""

    def __init__(self, form: FormModel, catalogue: Catalogue | None = None) -> None:
        self.form = form
        self.catalogue = catalogue or {}
        self.answered = 0  # the newest edit of the page that this session has seen

    def content(self) -> dict[str, Any]:
        """Return what a view shows of the form."""
        return present(self.form, self.catalogue)

    def change(self, message: Mapping[str, Any]) -> None:
        """Put a typed text into its field."""
        self.form = self.form.change(message["name"], message["raw"])
        self.answered = int(message.get("edit", self.answered))

    def restore(self, message: Mapping[str, Any]) -> None:
        """Set one field to its default again."""
        self.form = self.form.restore(message["name"])

    def reset(self, _message: Mapping[str, Any]) -> None:
        """Set every field to its default again."""
        self.form = self.form.reset()

    def add_item(self, message: Mapping[str, Any]) -> None:
        """Add an item of a kind to a list of Specs."""
        self.form = self.form.add_item(message["name"], message["kind"])

    def remove_item(self, message: Mapping[str, Any]) -> None:
        """Take an item out of a list of Specs."""
        self.form = self.form.remove_item(message["name"], int(message["index"]))

    def intents(self) -> dict[str, Intent]:
        """Return what a page can ask of the form, by name."""
        return {
            "change": self.change,
            "restore": self.restore,
            "reset": self.reset,
            "add_item": self.add_item,
            "remove_item": self.remove_item,
        }

    def submit(self, workspace: Workspace) -> Run:
        """Submit what the form says.

        Raises:
            SpecError: the form is not valid, or the workspace refuses the Spec.
        """
        checked = check(self.form)
        if checked.spec is None:
            name, error = next(iter(checked.errors.items()), ("", None))
            raise SpecError(error.what if error else checked.form_error, where=name,
                            next_step="Mend the marked fields, then run again.")  # fmt: skip
        return workspace.submit(checked.spec, priority=checked.priority, workers=checked.workers)


class SpecForm(View):
    """Shows a stage's form; Run submits it and shows the run below.

    ``spec`` is a stage's name, a Spec class, or a Spec to start from; ``prefilled`` are values of
    its fields. Without a workspace the default one is joined when it is needed.
    """

    _esm = linked_module("form_view.js")

    def __init__(
        self,
        spec: str | type[Spec] | Spec,
        workspace: Workspace | None = None,
        workers: WorkersWish = DEFAULT_WORKERS,
        priority: int = 0,
        **prefilled: Any,
    ) -> None:
        self._workspace = workspace
        self._watcher: RunWatcher | None = None
        self.session = FormSession(form_of(spec, workers, priority, **prefilled))
        super().__init__(
            {
                **self.session.intents(),
                "submit": self._submit,
                **dict.fromkeys(WISHES, self._ask),
            }
        )
        self.refresh()
        self._stop_hearing = watch(self.refresh)  # of rules that are written meanwhile
        threading.Thread(target=self._load_catalogue, name="form catalogue", daemon=True).start()

    def content(self) -> dict[str, Any]:
        """Return the form and, once there is one, the run it started."""
        run = self._watcher.snapshot() if self._watcher else None
        return {"form": self.session.content(), "run": run, "answered": self.session.answered}

    def record(self) -> str:
        """Return form and run as static HTML."""
        content = self.content()
        return form_record(content["form"], content["run"])

    def close(self) -> None:
        """Stop watching and take the form away."""
        self._stop_hearing()
        if self._watcher:
            self._watcher.close()
        super().close()

    @property
    def workspace(self) -> Workspace:
        """The workspace that the form submits to."""
        if self._workspace is None:
            from workbench.workspace import Workspace

            self._workspace = Workspace()
        return self._workspace

    def _load_catalogue(self) -> None:
        if not any(field.reads for field in self.session.form.fields):
            return
        try:
            self.session.catalogue = catalogue_of(self.workspace.artifacts())
        except WorkbenchError as error:
            self._notice = f"The catalog cannot be read: {error.what}. {error.next_step}"
        self.refresh()

    def _submit(self, _message: Mapping[str, Any]) -> None:
        run = self.session.submit(self.workspace)
        if self._watcher:
            self._watcher.close()
        self._watcher = RunWatcher(run, self.refresh).start()

    def _ask(self, message: Mapping[str, Any]) -> None:
        if self._watcher:
            self._watcher.ask(message["intent"])
