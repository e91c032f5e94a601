"""Errors of outputs that settings hold: templates of routes and appended outputs."""

from collections.abc import Sequence

from foundation.text import did_you_mean
from lanner.settings import Settings
from lanner.settings.faults import SettingFault
from processor.loading.condition_checks import output_findings
from processor.output.tokens import Token, parse_output
from schemas.catalog.fields import FIELDS


def output_faults(setting: str, text: str, parts: Sequence[tuple[int, str]] | None = None) -> list[SettingFault]:
    """Return all errors of an output.

    Args:
        setting: the name of the setting.
        text: its value.
        parts: the parts of it to check, each with its offset; by default all of it.
    """
    faults: list[SettingFault] = []
    for start, part in parts or ((0, text),):
        at = 0
        # The parser stops at the first error of a text.
        while errors := [each for each in output_findings(part[at:]) if each.code.is_error]:
            for each in errors:
                span = (start + at + each.span[0], start + at + each.span[1])
                faults.append(SettingFault(setting, f"{setting}: {each.message}.", each.hint, span))
            at += max(1, *(each.span[1] for each in errors))
    return faults


def appended_faults(settings: Settings) -> list[SettingFault]:
    """Return all errors of append_output."""
    faults: list[SettingFault] = []
    for index, item in enumerate(settings.append_output):
        name = f"append_output[{index}]"
        faults += output_faults(f"{name}.extra_output", item.extra_output or "")
        for number, field in enumerate(item.extra_fields):
            setting = f"{name}.extra_fields[{number}]"
            if field.format is not None:
                faults += output_faults(f"{setting}.{field.name}", field.format)
            elif not _is_printable(field.name):
                hint = did_you_mean(field.name.partition("[")[0], FIELDS) or "`lanner fields` lists the fields"
                faults.append(SettingFault(setting, f"{setting}: {field.name!r} is not a field of outputs.", hint))
    return faults


def _is_printable(field: str) -> bool:
    """Return whether a text is a field, or a transformer of one, that an output may contain."""
    try:
        (token,) = parse_output(f"%{field}")
    except ValueError:
        return False
    return isinstance(token, Token) and token.span == (0, len(field) + 1)
