"""`lanner collector build-cache`: the eBPF program, compiled for hosts that can't compile it."""

from pathlib import Path

import click

from lanner.cli.app import Options, front_command
from lanner.cli.terminal.output import note
from lanner.errors import BadInput


@front_command(
    "build-cache",
    example="sudo lanner collector build-cache bpf.json\nsudo lanner collector build-cache /opt/lanner/cache",
)
@click.argument("target", type=click.Path(path_type=Path), metavar="FILE|FOLDER")
def command(options: Options, target: Path) -> None:
    """Compile the eBPF program for hosts without compiler or kernel headers.

    It serves hosts with the same kernel build and the same version of Lanner: put the file into /opt/lanner/cache
    there, or name it as collector.bpf_cache. Needs BCC and kernel headers here; each collector tests it at its start.
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
        note("For hosts with this kernel: in /opt/lanner/cache, owned by root, or named as collector.bpf_cache.")
