"""The NLP Workbench: from raw text and prompts to a small, fast, monitored model.

Names load on first use, so that ``import workbench`` costs nothing: ``workbench.Workspace``,
``workbench.open`` and every Spec (``workbench.TrainSpec``) are reached from here.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Workspace": "workbench.workspace:Workspace",
    "open": "workbench.workspace:open_studio",
    "form": "workbench.workspace:open_form",
    "Spec": "workbench.core.spec:Spec",
    "RunContext": "workbench.core.context:RunContext",
    "stage": "workbench.pipeline.user_stage:stage",
    "rule": "workbench.data.rules.user_rule:rule",
    "Artifact": "workbench.core.artifact:Artifact",
    "Draft": "workbench.core.artifact:Draft",
    "DatasetRef": "workbench.core.spec:DatasetRef",
    "ModelRef": "workbench.core.spec:ModelRef",
    "ReportRef": "workbench.core.spec:ReportRef",
    "read_records": "workbench.data.records:read_records",
    "write_records": "workbench.data.records:write_records",
    "model": "workbench.train.user_model:model",
    "loss": "workbench.train.user_loss:loss",
    "scorer": "workbench.prompts.scorers.user_scorer:scorer",
    "source": "workbench.data.sources.user_source:source",
    "fetch_again": "workbench.data.sources.fetch:fetch_again",
    "WhatIf": "workbench.data.clean.what_if:WhatIf",
    "WorkbenchError": "workbench.core.errors:WorkbenchError",
    "PoolSpec": "workbench.pool.providers.provider:PoolSpec",
    "LocalPool": "workbench.pool.providers.local:LocalPool",
    "SshPool": "workbench.pool.providers.ssh:SshPool",
    "QueuePool": "workbench.pool.providers.queue:QueuePool",
    "ClusterPool": "workbench.pool.providers.cluster:ClusterPool",
}


def __getattr__(name: str) -> Any:
    """Load a public name, or the Spec of a registered stage, when it is first asked for."""
    if name in _PUBLIC:
        module, _, attribute = _PUBLIC[name].partition(":")
        return getattr(import_module(module), attribute)
    if name.endswith("Spec"):
        from workbench.core.registry import find_spec

        return find_spec(name)
    raise AttributeError(f"module 'workbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Offer every public name and every stage's Spec to tab completion."""
    from workbench.core.registry import stage_names

    return sorted({*_PUBLIC, "__version__", *(f"{s.title()}Spec" for s in stage_names())})
