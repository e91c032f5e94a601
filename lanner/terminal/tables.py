"""Tables and pages on standard output; a module of its own because services print none and rich takes 4 MiB."""

import io
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from foundation.text import printable
from lanner.terminal.output import coloured

_LONG = 500
"""Rows from which cells are not folded to fit the terminal: rich takes a millisecond for each row."""
_LINK = re.compile(r"\[([^\[\]]*)\]\(([^()\s]*)\)")
_PAGE_WIDTH = 120
"""Columns of the text of a page, at most."""


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    """Print a table on standard output, fitted to the terminal's width unless it is long; piped output is not cut."""
    terminal = sys.stdout.isatty()
    out = io.StringIO()
    console = Console(file=out, highlight=False, force_terminal=coloured(sys.stdout), no_color=not coloured(sys.stdout))
    console.width = shutil.get_terminal_size().columns if terminal else 10_000
    table = Table(box=box.SIMPLE_HEAD if terminal else None, pad_edge=False, header_style="bold")
    cells = [[cell if isinstance(cell, Text) else printable(cell) for cell in row] for row in rows]
    if len(cells) >= _LONG:
        widths = [max(map(_width, column)) for column in zip(columns, *cells, strict=True)]
        console.width = max(console.width, sum(widths) + 3 * len(widths))
        for name, width in zip(columns, widths, strict=True):
            table.add_column(name, width=width)
        console.print(table)
        head = out.getvalue().splitlines()
        # A terminal has an empty line at the end.
        tail = [head.pop()] if terminal else []
        lines = [*head, *_body(cells, widths, console, (" ", "   ") if terminal else ("", "  ")), *tail]
    else:
        for index, name in enumerate(columns):
            table.add_column(name, overflow="fold", no_wrap=index == 0)
        for row in cells:
            table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
        console.print(table)
        lines = out.getvalue().splitlines()
    sys.stdout.write("".join(line.rstrip() + "\n" for line in lines))


def print_page(markdown: str) -> None:
    """Print a page of docs/ or one that is made from a rule, wrapped to the terminal's width and escaped.

    It has headings, paragraphs, tables and code. Links become texts with the address or the file behind them.
    """
    width = min(shutil.get_terminal_size((_PAGE_WIDTH, 24)).columns, _PAGE_WIDTH)
    for block in re.split(r"\n{2,}", _LINK.sub(_link_text, markdown.strip())):
        lines = [printable(line) for line in block.split("\n")]
        if len(lines) > 1 and lines[1].startswith("|---"):
            head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
            sys.stdout.write("" if sys.stdout.isatty() else "\n")
            print_table(head, rows)
            continue
        if block.startswith("```"):
            lines = [f"    {line}" for line in lines[1:-1]]
        elif block.startswith("#"):
            title = lines[0].lstrip("# ")
            lines = [f"\x1b[1m{title}\x1b[0m" if coloured(sys.stdout) else title, "-" * len(title)]
        elif not block.startswith("    "):
            lines = textwrap.wrap(" ".join(lines), width, break_on_hyphens=False)
        sys.stdout.write("\n" + "".join(f"{line}\n" for line in lines))


def _link_text(link: re.Match[str]) -> str:
    text, target = link[1], link[2].partition("#")[0]
    return f"{text} ({target.replace('../', 'docs/')})"


def _width(cell: str | Text) -> int:
    text = cell if isinstance(cell, str) else cell.plain
    return len(text) if text.isascii() else cell_len(text)


def _body(
    rows: Sequence[Sequence[str | Text]], widths: Sequence[int], console: Console, space: tuple[str, str]
) -> Iterator[str]:
    """Yield the lines of rows as rich would print them. space: before the first cell, and between two."""
    indent, gap = space

    def padded(cell: str | Text, width: int) -> str:
        if isinstance(cell, str):
            return cell + " " * (width - _width(cell))
        style = cell.style if isinstance(cell.style, Style) else Style.parse(cell.style)
        return style.render(padded(cell.plain, width), color_system=None if console.no_color else ColorSystem.STANDARD)

    for row in rows:
        yield indent + gap.join(map(padded, row, widths))
