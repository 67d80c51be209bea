"""The kernel of a notebook that a run executes: it ends with the run's process, however that ends.

A kernel of its own accord looks once a second whether its parent is still there. One that somebody
has stopped does not look, and one whose parent dies while it starts does not know whom to look for.
"""

from __future__ import annotations

import os

from jupyter_client.manager import AsyncKernelManager

from workbench.pool.process import die_with_parent, name_process

_STOCK = "ipykernel_launcher"


class RunKernelManager(AsyncKernelManager):
    """Starts Python kernels by way of this module; those of other languages as ever."""

    def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
        """Return the command that starts the kernel."""
        command = super().format_kernel_cmd(extra_arguments)
        return [__name__ if word == _STOCK else word for word in command]


def main() -> None:
    """Be a kernel."""
    die_with_parent(int(os.environ["JPY_PARENT_PID"]))
    name_process("wb-kernel")
    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance()


if __name__ == "__main__":
    main()
