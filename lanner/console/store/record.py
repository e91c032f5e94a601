"""The record of an alert in the view: its group, the facts that filters look at, and the text to search.

Every value is a host's own and not escaped; the code that shows it does that.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from hashlib import blake2b
from itertools import takewhile

from notifier.formats.phrases import action, where
from schemas.alert import Alert, decode_alert, encode_alert
from schemas.catalog.priorities import SEVERITY, Priority

MAX_TEXT = 400
"""Characters of a group's text; of a longer one, the end is a hash of the rest, so that nothing hides behind it."""
_NORMALIZED = 4000
"""Characters of an output in which numbers and identifiers are replaced."""
OTHER_TEXTS = "(other texts)"
"""The text of a group that others share, for which there was no room. It can't be muted: anything may be in it."""
OMITTED = "…"
"""Stands for what differs between the alerts of a group."""
_MAX_WORDS = 40
"""Words that are compared one by one; the rest is one more, so that long texts cost little."""
MAX_SEARCHED = 2000
"""Characters of an alert that are searched."""
_TOKEN = re.compile(r"[^\s|=,;:()\[\]{}'\"<>]+")
_NUMBERS = re.compile(r"\d+")
_IDENTIFIER = re.compile(
    r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|(?=[a-fA-F]*\d)(?=\d*[a-fA-F])[0-9a-fA-F]{7,}"
)
_RANDOM = re.compile(r"(?<=[./_-])(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{5,}")
"""A part of a name with letters and digits, as of pods and temporary files."""
_OWN_FIELDS = ("evt.time", "evt.time.iso8601", "evt.hostname", "evt.num")
_SEARCHED = (
    # First those of limited length: a command could leave no room for what follows it.
    *("proc.exe.sha256", "proc.exe.package", "fd.sip.name", "fd.cip.name", "dns.question.name"),
    *("tls.client.server_name", "proc.exe.written_by", "proc.script.sha256", "proc.script.package", "proc.script.path"),
    *("fd.file.sha256", "fd.file.package"),
    *("proc.cmdline", "proc.exepath", "proc.pname", "fd.name", "fs.path.name", "user.name", "user.loginname"),
    *("container.id", "container.name", "container.image.repository", "k8s.ns.name", "k8s.pod.name"),
)
_DICTIONARY = " ".join(
    (
        "evt.type evt.dir evt.num evt.cpu evt.args evt.arg.flags evt.res evt.rawres evt.failed evt.category syscall",
        "evt.is_open_read evt.is_open_write evt.is_io evt.latency container.image.tag k8s.pod.labels k8s.pod.uid",
        "proc.pid proc.ppid proc.vpid proc.sid proc.sname proc.exe proc.args proc.cwd proc.tty proc.loginshellid",
        "proc.aname[2] proc.aname[3] proc.is_exe_upper_layer proc.exe_ino proc.exeline proc.pexepath proc.pcmdline",
        "user.uid user.loginuid group.gid group.name thread.tid thread.cap_effective fd.num fd.type fd.typechar",
        "fd.directory fd.filename fd.sip fd.sport fd.cip fd.cport fd.lip fd.rip fd.l4proto container.privileged",
        *_SEARCHED,
        *map(str, Priority),
    )
).encode()
"""The text that alerts have in common: zlib refers to it."""


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """One alert as the view stores it."""

    uid: str
    time: int
    """Event time, ns since the epoch."""
    rule: str
    workload: str
    """The image of the container without its tag, or the class of the host: its name with * for numbers."""
    text: str
    """The output without what differs between alerts of one kind."""
    priority: int
    tags: tuple[str, ...]
    host: str
    user: str
    namespace: str
    image: str
    searched: str
    """The output on one line, then other facts."""
    action: str
    """What happened, as on the terminal."""
    place: str
    """Where it happened, such as `on web-1`."""
    description: str
    response: str
    data: bytes


def record_of(alert: Alert) -> AlertRecord:
    """Return the view's record of an alert."""
    image = _field(alert, "container.image.repository") or _field(alert, "container.image")
    in_container = _field(alert, "container.id") not in ("", "host")
    host = alert.hostname or alert.host_id
    return AlertRecord(
        uid=alert.id,
        time=alert.time,
        rule=alert.rule,
        workload=image or "container" if in_container else host_class(host),
        text=group_text(alert),
        priority=SEVERITY.get(alert.priority, int(Priority.DEBUG)),
        tags=tuple(dict.fromkeys(alert.tags)),
        host=host,
        user=_field(alert, "user.name") or _field(alert, "user.uid"),
        namespace=_field(alert, "k8s.ns.name"),
        image=image,
        searched=_searched(alert, host),
        action=action(alert)[:MAX_TEXT].replace("\n", " "),
        place=where(alert)[:MAX_TEXT],
        description=alert.description,
        response=alert.response,
        data=packed(alert),
    )


def group_key(rule: str, workload: str, text: str) -> str:
    """Return the key of a group, which is the same on every console: marks refer to it."""
    return blake2b(f"{rule}\x1f{workload}\x1f{text}".encode("utf-8", "replace"), digest_size=10).hexdigest()


def group_text(alert: Alert) -> str:
    """Return an alert's output without numbers, identifiers and what is the alert's own."""
    text = alert.output
    for name in _OWN_FIELDS:
        value = alert.output_fields.get(name)
        if isinstance(value, str) and value:
            text = text.replace(value, "*")
    return normalized(text)


def normalized(text: str) -> str:
    """Return a text with * for numbers and identifiers, so that texts that differ only in these are equal."""
    found = _TOKEN.sub(lambda match: _generalized(match[0]), text[:_NORMALIZED])
    if len(found) <= MAX_TEXT and len(text) <= _NORMALIZED:
        return found
    rest = blake2b((found + text[_NORMALIZED:]).encode("utf-8", "replace"), digest_size=6).hexdigest()
    return f"{found[: MAX_TEXT - len(rest) - 2]}… {rest}"


def host_class(host: str) -> str:
    """Return a host's name with * for its numbers, so that web-1 and web-2 are one workload."""
    return _NUMBERS.sub("*", _IDENTIFIER.sub("*", host)) or "unknown host"


def shared_text(first: str, second: str) -> str:
    """Return the words that two texts share, with … for what differs; of a path, its folders."""
    if first == second:
        return first
    one, other = first.split(" ", _MAX_WORDS), second.split(" ", _MAX_WORDS)
    found: list[str] = []
    # Texts of one number of words, the usual case, are compared without a search.
    same = len(one) == len(other)
    spans = _pairs(one, other) if same else SequenceMatcher(None, one, other, autojunk=False).get_opcodes()
    for kind, start, end, other_start, other_end in spans:
        if kind == "equal":
            found += one[start:end]
            continue
        rest = OMITTED
        if end - start == other_end - other_start == 1:
            pairs = zip(one[start].split("/"), other[other_start].split("/"), strict=False)
            folders = [each for each, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
            rest = "/".join((*folders, OMITTED))
        if found[-1:] != [rest]:
            found.append(rest)
    return " ".join(found)


def _pairs(one: Sequence[str], other: Sequence[str]) -> Iterator[tuple[str, int, int, int, int]]:
    for at, (word, another) in enumerate(zip(one, other, strict=True)):
        yield "equal" if word == another else "replace", at, at + 1, at, at + 1


def packed(alert: Alert) -> bytes:
    """Encode an alert in a few hundred bytes; the texts of its rule are stored with its group."""
    pack = zlib.compressobj(level=3, wbits=-15, zdict=_DICTIONARY)
    data = encode_alert(replace(alert, description="", response=""))
    return pack.compress(data) + pack.flush()


def unpacked(data: bytes, description: str, response: str) -> Alert:
    """Return a packed alert with the texts of its rule. Raises BadAlert."""
    unpack = zlib.decompressobj(wbits=-15, zdict=_DICTIONARY)
    alert = decode_alert(unpack.decompress(data) + unpack.flush())
    return replace(alert, description=description, response=response)


def _generalized(token: str) -> str:
    if not any(map(str.isdigit, token)):
        return token
    return _NUMBERS.sub("*", _RANDOM.sub("*", _IDENTIFIER.sub("*", token)))


def _field(alert: Alert, name: str) -> str:
    value = alert.event.get(name)
    if value is None:
        value = alert.output_fields.get(name)
    if isinstance(value, tuple):
        return ", ".join(value)
    return "" if value is None else str(value)


def _searched(alert: Alert, host: str) -> str:
    # The output on one line: lists show what stands before the first line break.
    output = alert.output[:MAX_TEXT].replace("\n", " ")
    text = f"{output}\n{alert.rule} {host}"
    for name in _SEARCHED:
        value = _field(alert, name)
        if value and value not in text:
            text = f"{text} {value}"
    return text[:MAX_SEARCHED]
