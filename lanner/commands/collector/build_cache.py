"""`lanner collector build-cache`: compiles the eBPF program for hosts that can't compile it."""

from pathlib import Path

import click

from lanner.cli.app import NO_SETTINGS, Options, front_command
from lanner.cli.terminal.output import note
from lanner.errors import BadInput


@front_command(
    "build-cache",
    example="sudo lanner collector build-cache bpf.json\nsudo lanner collector build-cache /opt/lanner/cache",
    formats=(),
    without=NO_SETTINGS,
)
@click.argument("target", type=click.Path(path_type=Path), metavar="FILE|FOLDER")
def command(options: Options, target: Path) -> None:
    """Compile the eBPF program for hosts without a compiler or kernel headers.

    It works on hosts with the same kernel build and version of Lanner: put the file into /opt/lanner/cache there, or
    set collector.bpf_cache to it. Needs BCC and kernel headers here; each collector verifies it on start.
    """
    from collector.bpf.program import build_cache

    if target.is_dir() or target.parent.is_dir():
        try:
            path, kernel = build_cache(target)
        except OSError as error:
            raise BadInput(f"{target}: {error.strerror}.") from None
    else:
        raise BadInput(f"{target}: there is no folder {target.parent}.")
    if not options.quiet:
        note(f"{path}: {path.stat().st_size // 1024} KiB, for kernel {kernel}.")
        note("On hosts with this kernel: put it into /opt/lanner/cache, owned by root, or set collector.bpf_cache.")
