"""Actions inside containers, each in a container of its own that is removed afterwards."""

from lanner.demo.act import DemoAction, DemoContext

_IN_CONTAINER = "A container from a small image of this machine's programs; both are removed."
_IO_URING_SETUP = 425  # the same number on all architectures


def open_terminal_shell(context: DemoContext) -> None:
    """Run a shell with a terminal as a container's first process."""
    context.in_container("sh", "-c", "true", tty=True)


def run_package_manager(context: DemoContext) -> None:
    """Run a program named like a package manager."""
    context.in_container("apt-get", "update")


def set_up_io_uring(context: DemoContext) -> None:
    """Create an io_uring by a raw system call."""
    context.in_container("perl", "-e", f'my $parameters = "\\0" x 120; syscall({_IO_URING_SETUP}, 1, $parameters)')


def run_dropped_program(context: DemoContext) -> None:
    """Copy a program inside the container and run the copy."""
    context.in_container("sh", "-c", "cp /bin/true /tmp/dropped && /tmp/dropped")


CONTAINER_ACTS: tuple[DemoAction, ...] = (
    DemoAction(
        rule="Terminal shell in container",
        priority="Notice",
        does="Starts a container whose first process is a shell with a terminal.",
        touches=_IN_CONTAINER,
        needs=frozenset({"root", "docker"}),
        run=open_terminal_shell,
    ),
    DemoAction(
        rule="Launch Package Management Process in Container",
        priority="Error",
        does="Runs a program called apt-get, which does nothing, in a container.",
        touches=_IN_CONTAINER,
        needs=frozenset({"root", "docker"}),
        run=run_package_manager,
    ),
    DemoAction(
        rule="Set up io_uring in container",
        priority="Notice",
        does="Creates an io_uring with one entry in a container and doesn't use it.",
        touches=_IN_CONTAINER,
        needs=frozenset({"root", "docker"}),
        run=set_up_io_uring,
    ),
    DemoAction(
        rule="Run program that is not of the image",
        priority="Critical",
        does="Copies /bin/true inside a container and runs the copy.",
        touches=_IN_CONTAINER,
        needs=frozenset({"root", "docker"}),
        run=run_dropped_program,
    ),
)
