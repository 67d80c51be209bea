"""Where the hosts of a pool come from."""
