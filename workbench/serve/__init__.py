"""Serving: the prediction server, its batcher and log, deployment with checks, batch scoring."""
