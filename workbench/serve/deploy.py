"""The deploy stage: a model goes live after a candidate server has passed its checks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.core.artifact import Artifact, Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.errors import DataError, StageError, WorkbenchError
from workbench.core.registry import stage
from workbench.core.spec import ArtifactName, DatasetRef, ModelRef, Spec, option
from workbench.serve.acceptance import Acceptance, Demand, accept, malformed
from workbench.serve.caller import Caller
from workbench.serve.candidate import candidate
from workbench.serve.golden import GoldenRow, choose_golden_rows
from workbench.serve.report import write_report

if TYPE_CHECKING:
    from workbench.core.client import Client

LIVE_SECONDS = 180.0
_POLL_SECONDS = 0.2
# Sent to the live server as a last look; they stand in its prediction log, so they are few.
_LIVE_REQUESTS = 3


class DeploySpec(Spec):
    """A model that shall answer under a name, and what it must show before it may."""

    name: ArtifactName = option(
        "sentiment", title="Name", group="Deployment",
        help="The deployment's name; a model that is live under it is replaced.",
    )  # fmt: skip
    model: ModelRef = option(
        title="Model", group="Deployment", help="The model that shall go live."
    )
    test: DatasetRef = option(
        title="Golden rows", group="Checks",
        help="Labelled rows the model has never seen; it must answer a sample of them well.",
    )  # fmt: skip
    min_quality: float = option(
        0.4, title="Lowest macro-recall", group="Checks", ge=0, le=1,
        help="The lowest accepted mean recall over the labels, on the sampled golden rows.",
    )  # fmt: skip
    max_milliseconds: float = option(
        250.0, title="Longest answer time", unit="ms", group="Checks", gt=0, le=60_000,
        help="The highest accepted 95th percentile of the time to answer one text over HTTP.",
    )  # fmt: skip
    sample: int = option(
        100, title="Sample", unit="rows", group="Checks", ge=1, le=10_000,
        help="How many golden rows are sent, as evenly over the labels as possible.",
    )  # fmt: skip
    port: int = option(
        0, title="Port", group="Deployment", ge=0, le=65_535,
        help="The port on this machine where the model answers; 0 takes any free one.",
    )  # fmt: skip
    num_threads: int = option(
        1, title="Threads", unit="threads", group="Deployment", ge=1, le=64,
        help="How many processor threads the model may use for one batch of texts.",
    )  # fmt: skip
    go_live: bool = option(
        True, title="Go live", group="Deployment",
        help="Put the model live once it is accepted; otherwise only check it and report.",
    )  # fmt: skip


class DeployOutputs(Outputs):
    """The report of the checks."""

    acceptance: Draft


# From the cache come the checks only: the daemon sets the deployment that the report names again.
@stage(title="Deploy a model", version=1)
def deploy(spec: DeploySpec, run: RunContext) -> DeployOutputs:
    """Try a model in a server of its own and, when it passes every check, put it live.

    Raises:
        StageError: a check failed (all are named with their figures), or the accepted model did
            not come up; what was live before stays or is put back.
        DataError: the golden rows have no labels, or labels that the model does not know.
    """
    model = run.open(spec.model)
    if model.kind != "model":
        raise DataError(f"{model.reference} is a {model.kind}, not a model", where="model",
                        next_step="Name a model.")  # fmt: skip
    trial = try_candidate(spec, model, run)
    trial.acceptance.raise_if_failed(model.reference)
    url = go_live(spec, model, trial, run) if spec.go_live else ""
    draft = _report(spec, model, trial.acceptance, url, run)
    if spec.go_live:
        draft.describe(deployment={"name": spec.name, **_wanted(spec, model)})
    return DeployOutputs(acceptance=draft)


class Trial(NamedTuple):
    """A model's labels, the golden rows it was tried with, and what came of it."""

    labels: list[str]
    rows: list[GoldenRow]
    acceptance: Acceptance


def try_candidate(spec: DeploySpec, model: Artifact, run: RunContext) -> Trial:
    """Start a server for the model beside what is live, run every check, and stop it again.

    Raises:
        StageError: the server did not start.
    """
    from workbench.models.predictor import load_predictor

    test = run.open(spec.test)
    predictor = load_predictor(model.path, spec.num_threads)
    rows = choose_golden_rows(test, spec.sample, predictor.labels)
    demand = Demand(spec.min_quality, spec.max_milliseconds)
    start = time.perf_counter()
    folder = run.folder / "candidate"
    with candidate(model, spec.name, folder, spec.num_threads, run.stop_if_asked) as url:
        run.log("The candidate is ready", url=url, seconds=time.perf_counter() - start)
        acceptance = accept(url, model.reference, rows, predictor, demand, run)
    for check in acceptance.checks:
        run.log(("passed " if check.passed else "failed ") + str(check))
    run.metric("macro_recall", acceptance.figures["macro_recall"])
    run.metric("p95_milliseconds", acceptance.timing["p95_milliseconds"])
    return Trial(predictor.labels, rows, acceptance)


def go_live(spec: DeploySpec, model: Artifact, trial: Trial, run: RunContext) -> str:
    """Ask the daemon to put the model live, wait for it, and try it; return its address.

    Raises:
        StageError: it did not come up or answered wrongly; what was live before is put back.
    """
    before = _find(run.client, spec.name)
    run.client.put(f"/deployments/{spec.name}", _wanted(spec, model))
    try:
        url = _wait_until_live(spec.name, model.reference, run)
        _try_live(url, model.reference, trial)
    except WorkbenchError as error:
        undone = _put_back(run.client, spec.name, before)
        raise StageError(
            f"{model.reference} passed its checks but did not go live: {error.what}",
            where=f"deployment {spec.name}",
            next_step=f"{undone} Read the server's log, then deploy again.",
            detail=error.detail,
        ) from error
    run.log("The model is live", url=url, model=model.reference)
    return url


def _wanted(spec: DeploySpec, model: Artifact) -> dict[str, Any]:
    settings = {"num_threads": spec.num_threads}
    return {"model": model.reference, "port": spec.port, "settings": settings}


def _find(client: Client, name: str) -> dict[str, Any] | None:
    return next((d for d in client.get("/deployments") if d["name"] == name), None)


def _wait_until_live(name: str, reference: str, run: RunContext) -> str:
    deadline = time.monotonic() + LIVE_SECONDS
    while time.monotonic() < deadline:
        run.stop_if_asked()
        record = run.client.get(f"/deployments/{name}")
        if record["model"] != reference:
            raise StageError(f"{record['model']} was deployed there meanwhile", where=name,
                             next_step="Agree on one model, then deploy it.")  # fmt: skip
        if record["state"] == "live":
            return str(record["url"])
        if record["state"] in ("failed", "stopped"):
            raise StageError(f"the deployment is {record['state']}", where=name,
                             detail=str(record["error"] or ""))  # fmt: skip
        time.sleep(_POLL_SECONDS)
    raise StageError(f"it was not live within {LIVE_SECONDS:g} s", where=name)


def _try_live(url: str, reference: str, trial: Trial) -> None:
    with Caller(url) as caller:
        for row in trial.rows[:_LIVE_REQUESTS]:
            complaint = malformed(caller.predict(row.text), reference, trial.labels)
            if complaint:
                raise StageError(f"the live server answered wrongly: {complaint}", where=url)


def _put_back(client: Client, name: str, before: dict[str, Any] | None) -> str:
    """Make the deployment what it was, and say so."""
    if before is None:
        client.delete(f"/deployments/{name}")
        return "The deployment was taken down."
    wanted = {key: before[key] for key in ("model", "port", "settings")}
    client.put(f"/deployments/{name}", wanted)
    return f"{before['model']} was put back."


def _report(
    spec: DeploySpec, model: Artifact, acceptance: Acceptance, url: str, run: RunContext
) -> Draft:
    draft = run.save("report", f"{spec.name}-acceptance")
    facts = {"name": spec.name, "model": model.reference, "test": spec.test}
    write_report(draft.path, facts, acceptance)
    figures = acceptance.figures
    draft.describe(
        model=model.reference,
        checks=f"{len(acceptance.checks)} of {len(acceptance.checks)} passed",
        macro_recall=figures["macro_recall"],
        macro_recall_interval=[figures["low"], figures["high"]],
        requests=acceptance.requests,
        errors=acceptance.errors,
        timing={**acceptance.timing, "url": url},
    )
    return draft
