"""The durable queue: what states a run may be in, what starts next, and the SQL that keeps it."""
