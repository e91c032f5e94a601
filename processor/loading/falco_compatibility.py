"""Checks whether rule files also work in Falco: reports keys and fields that only Lanner supports.

Falco ignores unknown keys, so it would run a stateful macro as a stateless one without an error.
"""

import re
from collections.abc import Iterator, Sequence

from foundation.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode, SourceFile, SourceLocation, YamlError
from foundation.yaml.reading import read_documents
from foundation.yaml.text import TracedText, node_location
from processor.language.tokens import ANCESTOR, IN_INDICATORS
from processor.loading import RuleFile
from processor.loading.definitions import EXTENSION_KEYS, scalar_piece
from processor.loading.items.python_file import is_python
from processor.loading.problems import Problem, ProblemCode

OWN_FIELDS = (
    *("dns.answers", "dns.question.name", "dns.question.registered_domain", "dns.question.type", "dns.response_code"),
    *("evt.io_uring", "evt.is_open_setuid", "evt.path"),
    *(
        "fd.file.origin",
        "fd.file.package",
        "fd.file.package.type",
        "fd.file.package.version",
        "fd.file.sha256",
        "fd.file.written_at",
    ),
    *("fd.file.written_by", "fd.file.written_by.user"),
    *("fd.realpath", "indicator.description", "indicator.kind"),
    *("indicator.list", "indicator.name", "indicator.source", "proc.acodepath", "proc.args.truncated"),
    *("proc.codepath", "proc.env.truncated", "proc.exe.age", "proc.exe.first_seen", "proc.exe.hosts"),
    *("proc.exe.origin", "proc.exe.package", "proc.exe.package.type"),
    *("proc.exe.package.version", "proc.exe.sha256", "proc.exe.written_at", "proc.exe.written_by"),
    *("proc.exe.written_by.user", "proc.pcodepath", "proc.pexeline", "proc.script.origin", "proc.script.package"),
    *(
        "proc.script.package.type",
        "proc.script.package.version",
        "proc.script.path",
        "proc.script.sha256",
        "proc.script.written_at",
    ),
    *("proc.script.written_by", "proc.script.written_by.user"),
    "container.truncated",
    *("k8s.owner.kind", "k8s.owner.name", "k8s.owner.id", "k8s.serviceaccount.name", "k8s.node.name"),
    *("k8s.cluster.name", "json.host", "json.user", "json.key", "json.truncated", "jevt.time"),
    *("sshd.address", "sshd.key", "sshd.machine", "sshd.message", "sshd.method", "sshd.pid", "sshd.port"),
    *("sshd.program", "sshd.uid", "sshd.user", "tls.client.server_name"),
)
"""Fields that neither Falco nor its container plugin has."""
_OWN_ARGUMENTS = r"evt\.(?:raw)?arg\.(?:atime_age|mtime_age|time_age|created|modes)"
"""Arguments of calls for which no event of Falco has a similar one."""

_EFFECTS = {
    "correlation": "in Falco, this macro is stateless and true for every single event",
    "suppress": "Falco sends an alert for each repeat",
    "response": "Falco's alerts don't have it",
    "actions": "nothing is done about Falco's alerts",
}
_NO_PYTHON = "Falco can't load the file"
_HINT = "Falco does not load a rule that uses it"
_OWN_ITEMS = (("indicators", "lists of indicators", _HINT), ("action", "action policies", _EFFECTS["actions"]))
_FIELD = re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, OWN_FIELDS))}|{_OWN_ARGUMENTS}|%correlation\b)(?![\w])")
_OWN_WORD = re.compile(rf"(?<![\w.])(?:{ANCESTOR}\(|{IN_INDICATORS}\b|val\(\s*fd\.[cslr]ip\.name\s*\))")
_TEXTS = ("condition", "output", "exceptions")


def falco_problems(files: Sequence[RuleFile]) -> tuple[Problem, ...]:
    """Return an error for each use of a key or field that only Lanner supports; unreadable files are ignored."""
    return tuple(problem for file in files for problem in _of_file(_source(file)))


def _source(file: RuleFile) -> SourceFile:
    text = file.text if isinstance(file.text, str) else file.text.decode("utf-8", "replace")
    return SourceFile(file.name, text)


def _of_file(file: SourceFile) -> Iterator[Problem]:
    if is_python(file.name):
        message = "Falco has no rules in Python"
        yield Problem(ProblemCode.LOAD_ERR_EXTENSION, message, "python file", "", SourceLocation(file.name), _NO_PYTHON)
        return
    try:
        documents = read_documents(file)
    except YamlError:
        return
    for document in documents:
        for item in document.items if isinstance(document, SequenceNode) else ():
            if isinstance(item, MappingNode):
                for kind, what, effect in _OWN_ITEMS:
                    if isinstance(name := item.get(kind), ScalarNode):
                        message = f"Falco has no {what} and ignores the item"
                        location = node_location(item.key(kind) or item)
                        yield Problem(ProblemCode.LOAD_ERR_EXTENSION, message, kind, name.value, location, effect)
                for kind in EXTENSION_KEYS:
                    if isinstance(name := item.get(kind), ScalarNode):
                        yield from _of_item(item, kind, name.value)
                        break


def _of_item(item: MappingNode, kind: str, name: str) -> Iterator[Problem]:
    for key in EXTENSION_KEYS[kind]:
        if item.get(key) is not None:
            message = f"Falco does not support '{key}' and ignores it"
            yield Problem(
                ProblemCode.LOAD_ERR_EXTENSION, message, kind, name, node_location(item.key(key) or item), _EFFECTS[key]
            )
    for key in _TEXTS:
        for text in _scalars(item.get(key)):
            traced = TracedText.of([scalar_piece(text)])
            for found in _FIELD.finditer(text.value):
                message = f"Falco has no field '{found[1].lstrip('%')}'"
                yield Problem(ProblemCode.LOAD_ERR_EXTENSION, message, kind, name, traced.locate(found.span()), _HINT)
            for found in _OWN_WORD.finditer(text.value) if key == "condition" else ():
                own = f"{ANCESTOR}(...)" if found[0] == f"{ANCESTOR}(" else found[0]
                message = f"Falco has no '{own}'"
                yield Problem(ProblemCode.LOAD_ERR_EXTENSION, message, kind, name, traced.locate(found.span()), _HINT)


def _scalars(node: Node | None) -> Iterator[ScalarNode]:
    if isinstance(node, ScalarNode):
        yield node
    elif isinstance(node, SequenceNode):
        for each in node.items:
            yield from _scalars(each)
    elif isinstance(node, MappingNode):
        for _, value in node.pairs:
            yield from _scalars(value)
