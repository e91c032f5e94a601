"""Actions on a host: as a case of a rule test, for Lanner, and as the records of Sysmon or auditd, for Sigma."""

import base64
import ipaddress
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lanner.sigma.regex import sample
from tests.unit.lanner.sigma.evaluator import DASHES, Record

_FAMILIES = {38: "AF_ALG", 2: "AF_INET"}
_NAMED = ("unlink", "mkdir", "chmod")
_CREATES = ("mkdir",)
_DELETES = ("unlink",)


@dataclass(frozen=True, slots=True)
class Program:
    """A running program."""

    path: str = "/usr/bin/tool"
    words: tuple[str, ...] = ("tool",)
    name: str = ""

    @property
    def comm(self) -> str:
        """The kernel's name."""
        return (self.name or self.path.rpartition("/")[2]).encode()[:15].decode(errors="ignore") or "x"

    def given(self) -> dict[str, Any]:
        """Return it as rule tests write it."""
        return {"name": self.comm, "exepath": self.path, "exe": self.words[0], "args": list(self.words[1:])}


@dataclass(frozen=True, slots=True)
class Action:
    """What a program does."""

    kind: str
    """Sigma's category, or the system call for auditd."""
    program: Program = Program()
    parent: Program = Program("/usr/bin/bash", ("bash",))
    user: str = "root"
    uid: int = 0
    pid: int = 4000
    cwd: str = "/root"
    path: str = "/srv/data"
    is_initiated: bool = True
    server: str = "203.0.113.9"
    server_port: int = 443
    client: str = "10.0.0.2"
    client_port: int = 40000
    server_name: str = ""
    domain: int = 2
    numbers: Mapping[str, int] = field(default_factory=dict)

    def given(self) -> dict[str, Any]:
        """Return the event as rule tests write it."""
        process = self.program.given() | {"user": self.user, "uid": self.uid, "cwd": self.cwd, "pid": self.pid}
        event: dict[str, Any] = {"proc": process | {"ancestors": [self.parent.given()]}}
        if self.kind in ("process_creation", "execve"):
            return event | {"evt.type": "execve"}
        if self.kind == "file_event":
            return event | {"evt.type": "openat", "fd.name": self.path, "flags": "O_WRONLY|O_CREAT", "mode": "0644"}
        if self.kind == "network_connection":
            server, client = _end(self.server, self.server_port), _end(self.client, self.client_port)
            ends = {"local": client, "to": server} if self.is_initiated else {"from": client, "local": server}
            return event | {"evt.type": "connect" if self.is_initiated else "accept"} | ends
        if self.kind == "openat":
            return event | {"evt.type": "openat", "fd.name": self.path, "flags": "O_RDONLY"}
        if self.kind == "socket":
            return event | {"evt.type": "socket", "domain": _FAMILIES[self.domain]}
        if self.kind == "memfd_create":
            return event | {"evt.type": "memfd_create", "name": "x"}
        return event | {"evt.type": self.kind, "fs.path.name": self.path}

    def records(self) -> list[Record]:
        """Return the records that Sigma's rules are about."""
        if self.kind not in ("process_creation", "file_event", "network_connection"):
            return self._of_auditd()
        record: dict[str, Any] = {
            "Image": self.program.path,
            "CommandLine": " ".join(self.program.words),
            "CurrentDirectory": self.cwd.rstrip("/") + "/",
            "User": self.user,
            "LogonId": self.uid,
            "ProcessId": self.pid,
            "ParentImage": self.parent.path,
            "ParentCommandLine": " ".join(self.parent.words),
        }
        if self.kind == "file_event":
            record["TargetFilename"] = self.path
        if self.kind == "network_connection":
            record |= {"Initiated": str(self.is_initiated).lower(), "Protocol": "tcp"}
            record |= {"DestinationIp": self.server, "DestinationPort": self.server_port}
            record |= {"SourceIp": self.client, "SourcePort": self.client_port}
            record["DestinationHostname"] = self.server_name or None
        return [record]

    def _of_auditd(self) -> list[Record]:
        words = self.program.words
        common = {"exe": self.program.path, "comm": self.program.comm, "uid": self.uid, "euid": self.uid}
        common |= {"cwd": self.cwd.rstrip("/") + "/", "cmdline": " ".join(words), "pid": self.pid}
        if self.kind == "execve":
            arguments = {f"a{index}": word for index, word in enumerate(words)}
            path = {"type": "PATH", "name": self.program.path, "nametype": "NORMAL", **common}
            call = {"type": "SYSCALL", "SYSCALL": "execve", "syscall": "execve", **common}
            return [{"type": "EXECVE", **arguments, **common, "line": " ".join(words)}, call, path]
        found: list[Record] = [
            {"type": "SYSCALL", "SYSCALL": self.kind, "syscall": self.kind, "a0": f"{self.domain:x}", **common}
        ]
        if self.kind in ("openat", *_NAMED):
            nametype = "CREATE" if self.kind in _CREATES else "DELETE" if self.kind in _DELETES else "NORMAL"
            found.append({"type": "PATH", "name": self.path, "nametype": nametype, **common})
        return found


def _end(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


_KINDS = {"auditd": ("execve", "execve", "openat", "socket", "memfd_create", *_NAMED)}


class Generator:
    """Makes actions near to what a rule describes."""

    def __init__(self, rule: Mapping[str, Any], seed: int) -> None:
        self._random = random.Random(seed)
        source = rule["logsource"]
        self._kinds = _KINDS.get(source.get("service", ""), (source.get("category", ""),))
        detection = rule["detection"]
        self._selections = {name: value for name, value in detection.items() if name != "condition"}
        self._condition = str(detection["condition"])

    def actions(self, count: int) -> Iterator[Action]:
        """Yield actions: some that a rule should match, some that miss it by little, some with what it excludes."""
        for _ in range(count):
            action = Action(self._random.choice(self._kinds))
            wanted: dict[str, list[tuple[list[str], Any]]] = {}
            for name, value in self._selections.items():
                excluded = _is_excluded(self._condition, name)
                if self._random.random() < (0.25 if excluded else 0.9):
                    self._collect(value, wanted)
            if "SYSCALL" in wanted or "syscall" in wanted:
                call = str((wanted.get("SYSCALL") or wanted["syscall"])[0][1]).lower()
                action = replace(action, kind=call if call in (*self._kinds, "mknod") else "execve")
            elif "name" in wanted and self._random.random() < 0.8:
                action = replace(action, kind=self._random.choice(("openat", *_NAMED, "execve")))
            for key, parts in wanted.items():
                action = self._applied(action, key, parts)
            yield self._changed(action)

    def _collect(self, value: Any, wanted: dict[str, list[tuple[list[str], Any]]]) -> None:
        if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            self._collect(self._random.choice(value), wanted)
        elif isinstance(value, Mapping):
            for key, texts in value.items():
                name, *modifiers = key.split("|")
                values = texts if isinstance(texts, list) else [texts]
                chosen = values if "all" in modifiers else [self._random.choice(values)]
                wanted.setdefault(name, []).extend((modifiers, each) for each in chosen)
        else:
            values = value if isinstance(value, list) else [value]
            wanted.setdefault("", []).append((["contains"], self._random.choice(values)))

    def _text(self, parts: list[tuple[list[str], Any]]) -> str | None:
        starts, inner, ends = "", [], ""
        for modifiers, value in parts:
            if value is None or "exists" in modifiers:
                return None
            text = self._literal(str(value), modifiers)
            if "startswith" in modifiers and "fieldref" not in modifiers:
                starts = text
            elif "endswith" in modifiers:
                ends = text
            else:
                inner.append(text)
        joiner = self._random.choice(["", " "])
        return starts + joiner.join(inner) + ends

    def _literal(self, text: str, modifiers: list[str]) -> str:
        if "re" in modifiers:
            return sample(text) if self._random.random() < 0.7 else text
        if "windash" in modifiers:
            text = text.replace("-", self._random.choice(DASHES))
        if "base64offset" in modifiers or "base64" in modifiers:
            pad = self._random.choice(["", " ", "  "]) if "base64offset" in modifiers else ""
            text = base64.b64encode((pad + text + pad).encode()).decode()
        made = text.replace("\\*", "\0").replace("\\?", "\1").replace("\\\\", "\2")
        made = made.replace("*", self._random.choice(["", "x", "/y/"])).replace("?", self._random.choice(["z", "é"]))
        return made.replace("\0", "*").replace("\1", "?").replace("\2", "\\")

    def _applied(self, action: Action, name: str, parts: list[tuple[list[str], Any]]) -> Action:
        text = self._text(parts)
        if text is None:
            return action
        if "fieldref" in parts[0][0]:
            same = action.parent.words if text == "ParentCommandLine" else (action.program.path, "x")
            return replace(action, program=replace(action.program, words=same))
        text = self._mutated(text)
        program, parent = action.program, action.parent
        words = tuple(text.split(" "))
        if name in ("Image", "exe"):
            return replace(action, program=replace(program, path=_normal(text)))
        if name in ("CommandLine", "cmdline"):
            return replace(action, program=replace(program, words=words if words[0] else ("x", *words[1:])))
        if name == "":
            return replace(action, program=replace(program, words=(*program.words, *words)))
        if name == "ParentImage":
            return replace(action, parent=replace(parent, path=_normal(text)))
        if name == "ParentCommandLine":
            return replace(action, parent=replace(parent, words=words if words[0] else ("x", *words[1:])))
        if name == "comm":
            return replace(action, program=replace(program, name=text.encode()[:15].decode(errors="ignore") or "x"))
        if name in ("TargetFilename", "name"):
            path = _normal(text)
            # The file of a program that starts is the program's.
            file = replace(program, path=path) if action.kind == "execve" else program
            return replace(action, path=path, program=file)
        if name[:1] == "a" and name[1:].isdigit():
            return self._with_argument(action, int(name[1:]), text)
        return self._with_other(action, name, text, parts)

    def _with_argument(self, action: Action, index: int, text: str) -> Action:
        if action.kind == "socket":
            domain = int(text, 16) if text.isdigit() else 2
            return replace(action, domain=domain if domain in _FAMILIES else 2)
        words = list(action.program.words)
        words += ["x"] * (index + 1 - len(words))
        words[index] = text or "x"
        return replace(action, program=replace(action.program, words=tuple(words)))

    def _with_other(self, action: Action, name: str, text: str, parts: list[tuple[list[str], Any]]) -> Action:
        if name == "User":
            # A user id has one name, and the parent is root's.
            return replace(action, user=text or "x", uid=0 if text == "root" else action.uid or 1001)
        if name in ("LogonId", "uid", "euid") and text.isdigit():
            uid = int(text)
            user = action.user if (uid == 0) == (action.user == "root") else "x" if uid else "root"
            return replace(action, uid=uid, user=user)
        if name == "ProcessId" and text.isdigit():
            return replace(action, pid=max(1, int(text) + self._random.choice([-1, 0, 1])))
        if name in ("CurrentDirectory", "cwd"):
            return replace(action, cwd=_normal(text).rstrip("/") or "/")
        if name == "Initiated":
            return replace(action, is_initiated=text.lower() == "true")
        if name in ("DestinationIp", "SourceIp"):
            return replace(action, **{"server" if name[0] == "D" else "client": self._address(parts)})
        if name in ("DestinationPort", "SourcePort") and text.isdigit():
            return replace(action, **{"server_port" if name[0] == "D" else "client_port": int(text)})
        if name == "DestinationHostname":
            return replace(action, server_name=text.lower() if text.replace(".", "").isalnum() else "")
        return action

    def _address(self, parts: list[tuple[list[str], Any]]) -> str:
        modifiers, value = self._random.choice(parts)
        if "cidr" in modifiers:
            network = ipaddress.ip_network(value)
            place = self._random.randrange(min(network.num_addresses, 1000))
            return str(network[place] if self._random.random() < 0.8 else network[-1] + 1)
        if "startswith" in modifiers or "*" in str(value):
            return (str(value).rstrip("*.") + ".1.2.3.4").split(".", 4)[0] + ".1.2.3"
        return str(value)

    def _mutated(self, text: str) -> str:
        roll = self._random.random()
        if roll < 0.55 or not text:
            return text
        at = self._random.randrange(len(text))
        if roll < 0.75:
            return text.swapcase() if text.isascii() else text
        if roll < 0.85:
            return text[:at] + text[at + 1 :]
        return self._random.choice([f"x{text}", f"{text}x", f"{text} y", text[:at] + "q" + text[at:]])

    def _changed(self, action: Action) -> Action:
        if self._random.random() < 0.8:
            return action
        path = self._random.choice(["/usr/bin/tool", "/bin/sh"])
        return replace(action, program=replace(action.program, path=path))


def _is_excluded(condition: str, name: str) -> bool:
    """Return whether a condition excludes a selection, by its usual name."""
    return name.startswith(("filter", "falsepositive")) or f"not {name}" in condition


def _normal(text: str) -> str:
    parts = [part for part in text.replace("\\", "x").split("/") if part not in ("", ".", "..")]
    return "/" + "/".join(parts or ["x"])
