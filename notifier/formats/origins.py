"""Where a program and a script come from and which names are known, in words, for messages of all kinds.

The values are a host's own and not escaped; whoever prints them does that.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from foundation.quantities import seconds_text
from notifier.formats.action import cut, looked_up, text_of
from schemas.alert import Alert

SERVER_NAMES = ("fd.sip.name", "fd.cip.name", "fd.rip.name")
"""The fields of the other end's name, the first that has a value counts."""
_OF_ORIGIN = ("origin", "package", "package.version", "written_by", "written_by.user")


def origin_fields(of: str) -> tuple[str, ...]:
    """Return the fields that state where `proc.exe`, `proc.script` or `fd.file` comes from."""
    return (*(f"{of}.{name}" for name in _OF_ORIGIN), f"{of}.written_at")


def program(alert: Alert) -> str:
    """Return where the program comes from, and what became of it since; empty if that is unknown."""
    return _origin(alert, "proc.exe")


def script(alert: Alert) -> str:
    """Return the path of the script that the program runs, and where it comes from; empty if there is none."""
    return " ".join(filter(None, (cut(text_of(alert, "proc.script.path")), _origin(alert, "proc.script"))))


def file(alert: Alert) -> str:
    """Return where the file of code comes from that the event is about; empty if that is unknown."""
    return _origin(alert, "fd.file")


def _origin(alert: Alert, of: str) -> str:
    origin, package, version, writer, user = (text_of(alert, f"{of}.{name}") for name in _OF_ORIGIN)
    at = alert.event.get(f"{of}.written_at")
    when = f" {seconds_text(max(0, alert.time - at) / 1e9)} ago" if isinstance(at, int) else ""
    return origin_text(origin, package_text(package, version), writer, user, when)


def package_text(name: str | None, version: str | None) -> str:
    """Return a package with its version, as far as they are known."""
    return cut(" ".join(filter(None, (name, version))))


def origin_text(origin: str | None, package: str, writer: str | None, user: str | None, when: str) -> str:
    """Return where a program comes from, to follow the word "program"; empty if that is unknown.

    Args:
        origin: as `proc.exe.origin` has it.
        package: that lists it.
        writer: name of the process that wrote it.
        user: of that process.
        when: it did so, after a blank.
    """
    written = f"{when} by {cut(writer)}{f' ({cut(user)})' if user else ''}" if writer else ""
    match origin:
        case "package":
            return f"from package {package}"
        case "modified":
            return f"of package {package}, modified{written}"
        case "image":
            return f"from the image{f', package {package}' if package else ''}"
        case "dropped":
            return f"dropped{written}" if written else "from no package"
        case "memory":
            return "in memory, from no file"
    return ""


def origins(alert: Alert) -> str:
    """Return where the program, its script and the file come from; empty if that is unknown."""
    return "; ".join(_origins(alert, frozenset()))


def remarks(alert: Alert) -> str:
    """Return what is known of the program and of names, for texts that have an output and no facts.

    A field that the rule's output names is left out; a text in it proves nothing, as a host chooses commands.
    """
    name = next((each for each in SERVER_NAMES if text_of(alert, each)), "")
    known, server = cut(text_of(alert, name)), cut(text_of(alert, "tls.client.server_name"))
    parts = (
        (name, f"address looked up as {known}" if known and known != server else ""),
        ("dns.question.name", f"looked up {looked_up(alert)}" if text_of(alert, "dns.question.name") else ""),
        ("tls.client.server_name", f"asked for {server} (TLS)" if server else ""),
    )
    names = [text for field, text in parts if text and field not in alert.output_fields]
    return "; ".join((*_origins(alert, alert.output_fields.keys()), *names))


def _origins(alert: Alert, stated: AbstractSet[str]) -> Iterator[str]:
    for word, of, read in (
        ("program", "proc.exe", program),
        ("script", "proc.script", script),
        ("file", "fd.file", file),
    ):
        if (text := read(alert)) and f"{of}.origin" not in stated:
            yield f"{word} {text}"
