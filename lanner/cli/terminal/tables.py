"""Tables on standard output; a module of its own because services print none and rich takes 4 MiB."""

import io
import shutil
import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lanner.cli.terminal.output import coloured
from schemas.text.printable import printable


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    """Print a table on standard output, fitted to the terminal's width; piped output is not cut."""
    terminal = sys.stdout.isatty()
    out = io.StringIO()
    console = Console(file=out, highlight=False, force_terminal=coloured(sys.stdout), no_color=not coloured(sys.stdout))
    console.width = shutil.get_terminal_size().columns if terminal else 10_000
    table = Table(box=box.SIMPLE_HEAD if terminal else None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=index == 0)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row))
    console.print(table)
    sys.stdout.write("".join(line.rstrip() + "\n" for line in out.getvalue().splitlines()))
