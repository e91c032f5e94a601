"""Changes by events to the state of the captured host, descriptors apart (libsinsp parsers.cpp)."""

from collections.abc import Callable
from dataclasses import replace

from collector.processes.parts import Credentials, ProcessContext
from collector.processes.process import TrackedProcess
from lanner.captures.format.blocks import texts_of
from lanner.captures.format.events import CapturedEvent
from lanner.captures.format.lists import ListedGroup, ListedUser
from lanner.captures.state.accounts import UNKNOWN_NAME, CaptureAccounts, Containers, cgroups_of
from lanner.captures.state.descriptors import O_CLOEXEC
from lanner.captures.state.parameters import absolute_path
from lanner.captures.state.threads import DELETED, UNKNOWN_PROGRAM, CapturedThread, ThreadTable, code_path_of, signed_id
from schemas.catalog.system_calls import CLONES, EXECS

_THREAD, _VFORK, _NEWPID, _PARENT, _CHILD_IN_PIDNS = 1 << 13, 1 << 27, 1 << 6, 1 << 8, 1 << 29
_NEWUSER = 1 << 20
_ALL_CAPABILITIES = (1 << 41) - 1
CHILD_SUBREAPER = frozenset({36, 37})
"""Options of prctl that set and return whether a process adopts orphans; Falco takes one for the other."""
_STALE_AFTER = 2_000_000_000
_WRITABLE, _UPPER, _MEMFD, _LOWER = 1, 2, 4, 8
NOTICES = frozenset({"asyncevent", "container", "groupadded", "groupdeleted", "useradded", "userdeleted"})
"""Events that describe containers and accounts."""
_NO_ID = 0xFFFFFFFF
Effect = Callable[[CapturedEvent, CapturedThread], None]


class ProcessEffects:
    """Applies events to threads, users and containers."""

    def __init__(self, threads: ThreadTable, accounts: CaptureAccounts, containers: Containers) -> None:
        self._threads = threads
        self._accounts = accounts
        self._containers = containers
        self._effects: dict[str, Effect] = {
            **dict.fromkeys(EXECS, self._exec),
            **dict.fromkeys(("setresuid", "setreuid"), self._sets("uid", "euid")),
            **dict.fromkeys(("setresgid", "setregid"), self._sets("gid", "egid")),
            **dict.fromkeys(("unshare", "setns"), self._new_namespace),
            **dict.fromkeys(("chdir", "getcwd"), self._change_directory),
            "fchdir": self._change_directory_to_descriptor,
            "setuid": self._sets("uid", "uid"),
            "setgid": self._sets("gid", "gid"),
            "setsid": self._set_session,
            "capset": self._set_capabilities,
            "prctl": self._set_reaper,
        }

    @property
    def names(self) -> frozenset[str]:
        """The names of events that change threads, users or containers."""
        return frozenset(self._effects) | NOTICES | {*CLONES, "procexit"}

    def apply(self, event: CapturedEvent, thread: CapturedThread | None) -> CapturedThread | None:
        """Apply an event and return the thread that it is about now."""
        name = event.version.name
        if not event.version.is_exit:
            self._apply_notice(name, event)
            return thread
        if name in CLONES and event.result >= 0:
            return self._cloned_child(event, thread) if event.result == 0 else self._cloned_parent(event, thread)
        effect = self._effects.get(name)
        if effect is not None and thread is not None and event.result >= 0:
            effect(event, thread)
        return thread

    def after(self, event: CapturedEvent, thread: CapturedThread | None) -> None:
        """Apply what an event changes only once it has been evaluated."""
        if event.version.name == "procexit" and thread is not None:
            self._threads.end(thread, event.signed("reaper_tid", -1))

    def _apply_notice(self, name: str, event: CapturedEvent) -> None:
        if name == "container":
            self._containers.describe(event.bytes_of("json"))
        elif name == "asyncevent":
            if event.text("name") in {"container", "container_added"}:
                self._containers.describe(event.bytes_of("data"))
        elif name in {"useradded", "groupadded"}:
            group = event.number_of("gid")
            account: ListedUser | ListedGroup = ListedGroup(group, event.text("name") or "")
            if name == "useradded":
                texts = [event.text(each) or "" for each in ("name", "home", "shell")]
                account = ListedUser(event.number_of("uid"), group, *texts)
            self._accounts.add(account, event.text("container_id") or "")
        elif name == "userdeleted":
            self._accounts.remove_user(event.number_of("uid"), event.text("container_id") or "")
        elif name == "groupdeleted":
            self._accounts.remove_group(event.number_of("gid"), event.text("container_id") or "")

    # Clones

    def _cloned_parent(self, event: CapturedEvent, thread: CapturedThread | None) -> CapturedThread | None:
        is_known = thread is not None and not thread.entry.is_stale
        if thread is None or not is_known:
            thread = self._identified(event, thread)
        flags = event.number_of("flags")
        name = event.version.name
        if flags & (_CHILD_IN_PIDNS | _NEWPID | _PARENT) or thread.tid != thread.vtid:
            return thread
        if flags & _VFORK or name == "vfork":
            return thread
        known = self._threads.find(event.result)
        if known is not None and known.is_inverted:
            return thread
        is_thread = bool(flags & _THREAD)
        pid = thread.entry.pid if is_thread else event.result
        source = thread if is_known else None
        child = self._child(event, source, event.result, pid, thread.ptid if is_thread else thread.tid)
        if not is_known:
            self._describe(thread, child)
        child.vtid = event.result
        child.entry.context = replace(child.entry.context, vpid=pid)
        self._threads.add(child)
        return thread

    def _cloned_child(self, event: CapturedEvent, thread: CapturedThread | None) -> CapturedThread | None:
        if thread is not None and thread.clone_time and event.time - thread.clone_time < _STALE_AFTER:
            return thread
        flags = event.number_of("flags")
        pid, ptid = event.signed("pid", event.tid), event.signed("ptid")
        source_tid = pid if flags & _THREAD else ptid
        source = self._threads.find(source_tid) or self._threads.add_unknown(source_tid)
        is_known = not source.entry.is_stale
        child = self._child(event, source if is_known else None, event.tid, pid, ptid)
        if not is_known and flags & _THREAD:
            vpid = event.signed("vpid", -1)
            self._threads.identify(source, pid, ptid, vtid=vpid, vpid=vpid)
            self._describe(source, child)
        child.is_inverted = True
        child.vtid = event.signed("vtid", event.tid)
        start = event.number_of("pidns_init_start_ts")
        child.entry.context = replace(
            child.entry.context,
            vpid=event.signed("vpid", -1),
            pid_namespace_init_start=start or child.entry.context.pid_namespace_init_start,
        )
        self._threads.add(child)
        return child

    def _describe(self, thread: CapturedThread, child: CapturedThread) -> None:
        """Take over the program of a child for a thread of which nothing was known."""
        program = child.entry.program
        own = replace(thread.entry.program, name=program.name, exe=program.exe, args=program.args)
        thread.entry.program, thread.entry.comm = own, own.name
        self._threads.changed(thread.entry)

    def _identified(self, event: CapturedEvent, thread: CapturedThread | None) -> CapturedThread:
        """Identify a thread that cloned, of which nothing was known."""
        thread = thread or self._threads.add_unknown(event.tid)
        pid, ptid = event.signed("pid", event.tid), event.signed("ptid")
        ids = {"vtid": event.signed("vtid", event.tid), "vpid": event.signed("vpid", -1)}
        self._threads.identify(thread, pid, ptid, **ids)
        return thread

    def _child(
        self, event: CapturedEvent, source: CapturedThread | None, tid: int, pid: int, ptid: int
    ) -> CapturedThread:
        exe = event.text("exe") or ""
        program = UNKNOWN_PROGRAM if source is None else source.entry.program
        program = replace(
            program,
            name=exe if (comm := event.text("comm")) is None else comm,
            exe=exe,
            args=texts_of(event.bytes_of("args")),
        )
        is_thread = tid != pid
        if source is None:
            program = replace(program, exepath="", env=())
            context = ProcessContext(cwd="", sid=-1, vpgid=-1, pgid=-1, tty=0, loginuid=-1)
            credentials = Credentials(_NO_ID, _NO_ID, 0, 0, 0)
        else:
            context, credentials = source.entry.context, source.entry.credentials
            if not is_thread:
                context = replace(context, cwd=self._threads.main(source).entry.context.cwd)
        cgroups = texts_of(event.bytes_of("cgroups"))
        container = None if source is None else source.entry.container
        if cgroups:
            container, text = cgroups_of(cgroups)
            context = replace(context, cgroup=text)
        self._threads.limits.spend(exe, program.name, program.args, context.cgroup if cgroups else None)
        entry = TrackedProcess(
            pid,
            event.time - self._threads.boot_time,
            event.time,
            replace(credentials, uid=event.number_of("uid"), gid=event.number_of("gid")),
            program=program,
            context=context,
            exec_generation=0,
            container=container,
        )
        entry.exec_time = None
        child = CapturedThread(tid, ptid, entry)
        child.clone_time = event.time
        if source is not None and not is_thread:
            child.descriptors = self._threads.inherited(source)
        return child

    # Programs

    def _exec(self, event: CapturedEvent, thread: CapturedThread) -> None:
        entry = thread.entry
        if entry.is_stale:
            pid = event.signed("pid", event.tid)
            self._threads.identify(thread, pid, event.signed("ptid"), vtid=event.tid, vpid=pid)
        thread.is_dead = False
        exe = event.text("exe") or ""
        former = entry.program
        exepath = self._exepath(event, thread)
        env = texts_of(event.bytes_of("env")) if event.bytes_of("env") else former.env
        program = replace(
            former,
            name=exe if (comm := event.text("comm")) is None else comm,
            exe=exe,
            exepath=exepath,
            codepath=code_path_of(exepath, env, entry.credentials.uid, entry.context.cwd),
            args=texts_of(event.bytes_of("args")),
            env=env,
            is_args_truncated=False,
            is_env_truncated=False,
        )
        if event.bytes_of("exe_ino_mtime"):
            inode, changed, modified = (event.number_of(f"exe_ino{part}") for part in ("", "_ctime", "_mtime"))
            program = replace(program, exe_ino=inode, exe_ctime=changed, exe_mtime=modified)
        if event.bytes_of("flags"):
            flags = event.number_of("flags")
            program = replace(
                program,
                is_writable=bool(flags & _WRITABLE),
                is_upper_layer=bool(flags & _UPPER),
                is_from_memfd=bool(flags & _MEMFD),
                is_lower_layer=bool(flags & _LOWER),
            )
        entry.program, entry.comm = program, program.name
        entry.exec_time = event.time
        entry.exec_generation = (entry.exec_generation or 0) + 1
        entry.is_stale = False
        context = entry.context
        cgroups = texts_of(event.bytes_of("cgroups"))
        if cgroups:
            entry.container, text = cgroups_of(cgroups)
            context = replace(context, cgroup=text)
        entry.context = replace(
            context,
            tty=event.number_of("tty", context.tty or 0),
            vpgid=event.signed("vpgid", -1 if context.vpgid is None else context.vpgid),
            pgid=event.signed("pgid", -1),
            loginuid=signed_id(event.number_of("loginuid", context.loginuid or 0))
            if event.bytes_of("loginuid")
            else context.loginuid,
        )
        old = entry.credentials
        entry.credentials = Credentials(
            event.number_of("uid", old.uid),
            event.number_of("gid", old.gid or 0),
            event.number_of("cap_effective", old.cap_effective or 0),
            event.number_of("cap_permitted", old.cap_permitted or 0),
            event.number_of("cap_inheritable", old.cap_inheritable or 0),
        )
        self._threads.close(thread, lambda _, each: bool(each.flags & O_CLOEXEC))
        self._threads.remove_group(self._threads.main(thread), thread.tid)
        self._threads.limits.spend(program.exe, program.exepath, program.args, program.env, entry.context.cgroup)
        self._threads.changed(entry)

    def _exepath(self, event: CapturedEvent, thread: CapturedThread) -> str | None:
        trusted = event.text("trusted_exepath")
        if trusted is not None:
            return trusted.removesuffix(DELETED)
        entry = event.entry
        if entry is None:
            return thread.entry.program.exepath
        if entry.version.name == "execve":
            path = entry.text("filename")
            cwd = self._threads.main(thread).entry.context.cwd
        else:
            path = entry.text("pathname")
            number = entry.signed("dirfd", -100)
            directory = self._threads.descriptor(thread, number)
            cwd = self._threads.main(thread).entry.context.cwd if number == -100 else None
            if directory is not None:
                cwd = directory.name
                if entry.number_of("flags") & 1:
                    return cwd
        if path is None:
            return thread.entry.program.exepath
        return UNKNOWN_NAME if path == UNKNOWN_NAME else absolute_path(cwd, path)

    # Identity and surroundings

    def _set_credentials(self, thread: CapturedThread, **parts: int) -> None:
        thread.entry.credentials = replace(thread.entry.credentials, **parts)
        self._threads.changed(thread.entry)

    def _sets(self, part: str, parameter: str) -> Effect:
        """Return the effect of calls that set the user or group to a parameter."""

        def apply(event: CapturedEvent, thread: CapturedThread) -> None:
            if event.result == 0 and event.bytes_of(parameter):
                self._set_credentials(thread, **{part: event.number_of(parameter)})

        return apply

    def _set_session(self, event: CapturedEvent, thread: CapturedThread) -> None:
        self._threads.update(thread.entry, sid=event.result)

    def _set_reaper(self, event: CapturedEvent, thread: CapturedThread) -> None:
        if event.number_of("option") in CHILD_SUBREAPER and not thread.entry.is_stale:
            self._threads.set_reaper(thread, is_reaper=event.number_of("arg2_int") != 0)

    def _set_capabilities(self, event: CapturedEvent, thread: CapturedThread) -> None:
        sets = {name: event.number_of(name) for name in ("cap_inheritable", "cap_permitted", "cap_effective")}
        self._set_credentials(thread, **sets)

    def _new_namespace(self, event: CapturedEvent, thread: CapturedThread) -> None:
        name = "flags" if event.version.name == "unshare" else "nstype"
        if event.number_of(name) & _NEWUSER:
            names = ("cap_inheritable", "cap_permitted", "cap_effective")
            self._set_credentials(thread, **dict.fromkeys(names, _ALL_CAPABILITIES))

    def _change_directory(self, event: CapturedEvent, thread: CapturedThread) -> None:
        path = event.text("path")
        self._to_directory(thread, UNKNOWN_NAME if path is None else path)

    def _change_directory_to_descriptor(self, event: CapturedEvent, thread: CapturedThread) -> None:
        descriptor = self._threads.descriptor(thread, event.signed("fd", -1))
        if descriptor is not None:
            self._to_directory(thread, descriptor.name)

    def _to_directory(self, thread: CapturedThread, path: str) -> None:
        main = self._threads.main(thread)
        # A thread other than the main one does not know the directory that they share.
        cwd = absolute_path((main.entry.context.cwd or "") if thread.is_main else "", path)
        # The directory of an unknown process stays unknown.
        if cwd is not None and not main.entry.is_stale:
            self._threads.update(main.entry, cwd=cwd or "/")
