"""Pipelines: the stage notebooks run in order by papermill, cached, resumable and recorded."""
