"""Decides where the past is read from: this host's own recording, a given one, or a fleet's topics."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lanner.cli.terminal.output import note
from lanner.errors import BadInput
from lanner.settings import Settings
from lanner.settings.sections.model import KafkaSettings


def source_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose the source, which are passed as `file` and `topic`."""
    path = click.Path(path_type=Path)
    file = "Read this recording: a folder of `lanner run`, or one file."
    topic = "Read the topics of the fleet."
    function = click.option("--topic", is_flag=True, help=f"{topic}  [default: if a broker is configured]")(function)
    return click.option("--file", type=path, metavar="PATH", help=f"{file}  [default: this host's own]")(function)


def chosen_recording(settings: Settings, file: Path | None, *, topic: bool, quiet: bool) -> Path | None:
    """Return the recording to read, or None for the topics of a fleet.

    Args:
        settings: if they say nothing about Kafka, this host's own recording is read.
        file: the recording that was named.
        topic: whether the topics were named.
        quiet: don't report which recording is read.

    Raises:
        BadInput: No broker is configured, and there is no recording that this user can read.
        click.UsageError: Both were named.
    """
    if file is not None and topic:
        raise click.UsageError("give either --file or --topic.")
    if file is None and (topic or settings.kafka != KafkaSettings()):
        return None
    chosen = Path(settings.keep.folder) if file is None else file
    try:
        if not chosen.is_file():
            os.scandir(chosen).close()
    except FileNotFoundError:
        if file is not None:
            raise BadInput(f"{file}: no such file or folder.") from None
        raise BadInput(
            f"no broker is configured, and this host has no recording in {chosen}, where `lanner run` stores it. "
            f"--topic reads from the broker at {settings.kafka.bootstrap_servers}, --file from another recording."
        ) from None
    except PermissionError:
        raise BadInput(f"{chosen}: Permission denied: recordings are private; use sudo.") from None
    except OSError as error:
        raise BadInput(f"{chosen}: {error.strerror}.") from None
    if file is None and not quiet:
        note(f"reading this host's own recording in {chosen}; --topic reads a fleet's.")
    return chosen
