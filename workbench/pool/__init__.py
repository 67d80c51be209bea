"""The pool: an agent on each host, the processes that it forks, and the daemon's book of them."""
