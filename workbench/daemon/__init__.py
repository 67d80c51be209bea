"""The one daemon of a workspace: sole owner of database, queue and pool, behind a local API."""
