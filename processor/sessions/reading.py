"""Finds in events that are JSON who requested a command in a pod, and who logged in by SSH. Pure."""

import json
from collections.abc import Iterable
from hashlib import blake2b
from urllib.parse import parse_qsl

from processor.fields.audit.event_fields import AuditFields
from processor.sessions.records import CommandRequest, Person, SessionRecord, SshLogin
from schemas.catalogue.sources import K8S_AUDIT, SSHD

SSHD_PROGRAMS = frozenset({"sshd", "sshd-session"})
"""Names of the process that accepts logins; the second one since OpenSSH 9.8."""
_MAX_WORDS = 1000
_ROOT = 0


def session_record(event: AuditFields) -> SessionRecord | None:
    """Return what an event reports about a session; None if it is about none."""
    if event.source.name == K8S_AUDIT:
        return _request(event)
    return _login(event) if event.source.name == SSHD else None


def hashed(words: Iterable[str]) -> str:
    """Return a hash of a command's words, which may be long."""
    return blake2b(json.dumps(list(words)).encode(), digest_size=16).hexdigest()


def _request(event: AuditFields) -> CommandRequest | None:
    if event["ka.target.subresource"] != "exec":
        return None
    if event["ka.target.resource"] != "pods" or event["ka.stage"] != "ResponseStarted":
        return None
    query = str(event["ka.uri"] or "").partition("?")[2]
    try:
        parameters = parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_WORDS)
    except ValueError:
        return None
    words = tuple(value for key, value in parameters if key == "command")
    container = next((value for key, value in parameters if key == "container"), None)
    user = str(event["ka.user.name"] or "")
    if not words or not user or str(event["ka.response.code"]) != "101":
        return None
    person = Person(user, _texts(event["ka.sourceips"]), _texts(event["ka.user.groups"]), " ".join(words))
    names = (str(event["ka.target.namespace"] or ""), str(event["ka.target.name"] or ""), container or "")
    if any(len(name) > _MAX_WORDS for name in names):
        return None
    return CommandRequest(
        hashed(event.identity), event.time, names[0], names[1], container, hashed(words), person.clipped()
    )


def _login(event: AuditFields) -> SshLogin | None:
    """Return the login that a line of sshd reports.

    Everybody on a host may log lines that look like sshd's. The journal itself adds process id and user id, and only
    root can change them.
    """
    user, address, pid = event["sshd.user"], event["sshd.address"], event["sshd.pid"]
    if not isinstance(user, str) or not isinstance(address, str) or not isinstance(pid, int):
        return None
    if event["sshd.uid"] != _ROOT or event["sshd.program"] not in SSHD_PROGRAMS or not 0 < pid < 1 << 31:
        return None
    key, machine = event["sshd.key"], event["sshd.machine"]
    person = Person(user, (address,), key=key if isinstance(key, str) else "")
    hostname = event.hostname[:_MAX_WORDS]
    return SshLogin(
        machine[:_MAX_WORDS] if isinstance(machine, str) else "", hostname, pid, event.time, person.clipped()
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(each) for each in value) if isinstance(value, tuple) else ()
