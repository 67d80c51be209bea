"""The pool: elastic workers from a Dask cluster of some provider, one slot per worker."""
