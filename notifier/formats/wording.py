"""An alert as a title and a body of plain text, for services that act on mentions, links and formatting."""

import re

from schemas.alert import Alert
from schemas.text.printable import printable

BODY_LENGTH = 1200
RESPONSE_LENGTH = 300
"""Together within the limit of most services; longer text is cut at the end."""
TITLE_LENGTH = 200
_JOINER = "\u2060"
_ACTIVE = re.compile(r"(?<=[@<#`*_~])|(?<=\])(?=\()|(?<=:)(?=/)|(?<=[\w])\.(?=[a-zA-Z])", re.ASCII)
"""Positions after characters that services read as a mention, a tag or formatting, and inside what becomes a link."""


def wording(alert: Alert) -> tuple[str, str]:
    """Return title and body."""
    inside = alert.event.get("container.id", "host") != "host"
    where = f"{alert.hostname} / {alert.event.get('container.name', '?')}" if inside else alert.hostname
    title = harmless(f"{alert.priority} | {alert.rule} | {where}", TITLE_LENGTH)
    advice = f"\n{harmless(alert.response, RESPONSE_LENGTH)}" if alert.response else ""
    return title, f"{harmless(alert.output, BODY_LENGTH)}{advice}\nlanner context {harmless(alert.id, 64)}"


def harmless(text: str, most: int) -> str:
    """Return a text without mentions or links: invisible joiners break up what services act on."""
    return _ACTIVE.sub(lambda found: found.group() + _JOINER, printable(text[:most]))[:most]
