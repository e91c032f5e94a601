"""Converts kernel records into the parts that the process table stores."""

from collector.processes.parts import Credentials, ExecutedProgram, ProcessContext
from collector.records.types import Exec, State


def program_of(record: Exec) -> ExecutedProgram:
    """Return the program of an exec record."""
    return ExecutedProgram(
        name=record.state.comm,
        exe=record.args[0] if record.args else None,
        exepath=record.exepath or None,
        args=record.args[1:],
        env=record.env,
        exe_ino=record.exe_ino,
        exe_mode=record.exe_mode,
        exe_uid=record.exe_uid,
        exe_gid=record.exe_gid,
        exe_ctime=record.exe_ctime,
        exe_mtime=record.exe_mtime,
        is_upper_layer=record.is_upper_layer,
        is_lower_layer=record.is_lower_layer,
        is_from_memfd=record.is_from_memfd,
        is_args_truncated=record.args_truncated,
        is_env_truncated=record.env_truncated,
    )


def credentials_of(state: State) -> Credentials:
    """Return the credentials of the thread that made the record."""
    return Credentials(state.who.uid, state.gid, state.cap_effective, state.cap_permitted, state.cap_inheritable)


def place_of(state: State) -> ProcessContext:
    """Return the process's surroundings."""
    return ProcessContext(
        ppid=state.ppid,
        vpid=state.vpid,
        pgid=state.pgid,
        vpgid=state.vpgid,
        sid=state.sid,
        tty=state.tty,
        loginuid=state.loginuid,
        pid_namespace=state.pid_namespace,
        mount_namespace=state.mount_namespace,
        pid_namespace_init_start=state.pid_namespace_init_start,
        cwd=state.cwd or None,
        cgroup=state.cgroup or None,
    )
