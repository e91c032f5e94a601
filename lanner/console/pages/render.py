"""Renders the templates. Every value is escaped for HTML, and controls and direction marks are made visible."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from lanner.console.pages.charts import sparkline
from lanner.console.times import time_text
from schemas.catalogue.priorities import Priority
from schemas.text.printable import printable


class Renderer:
    """The templates of the package, compiled once."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Load the templates. values: what all of them may use."""
        self._environment = Environment(
            loader=PackageLoader("lanner.console.pages", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_visible,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        filters: dict[str, Callable[..., Any]] = {
            "time": _time,
            "count": _count,
            "priority": _priority,
            "segment": lambda text: quote(text, safe=""),
            "value": _value,
            "lines": _lines,
        }
        self._environment.filters |= filters
        self._environment.globals |= {"sparkline": sparkline, "priorities": [str(each) for each in Priority], **values}

    def render(self, template: str, **values: Any) -> str:
        """Return a page."""
        return self._environment.get_template(template).render(**values)


def _visible(value: Any) -> Any:
    """Make a text of a host visible: a direction mark could reverse how the rest of the page reads."""
    return printable(value) if type(value) is str else value


def _time(microseconds: int) -> Markup:
    """Return a time element in UTC; the page's script shows it in the viewer's zone."""
    text = time_text(microseconds)
    shown = text[:19].replace("T", " ")
    return Markup('<time datetime="{}" title="{} UTC">{} UTC</time>').format(text, shown, shown)


def _lines(text: str) -> Markup:
    """Return a text of several lines."""
    return escape("\n".join(map(printable, text.split("\n"))))


def _count(number: int) -> str:
    return f"{number:,}"


def _priority(number: int) -> str:
    return str(Priority(number))


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
