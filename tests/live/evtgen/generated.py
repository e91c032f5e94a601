"""The actions of Falco's event generator that are programs, written as steps like those of the other cases.

Each is the same system calls in the same context; a tool that it would start is the actor under the tool's name,
because what a rule sees of a tool is its name and arguments.
Source: falcosecurity/event-generator events/syscall.
"""

from collections.abc import Mapping
from typing import Any

_CREATE = "O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC"
_EXCLUSIVE = "O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC"
_UNPRIVILEGED: dict[str, Any] = {"privileged": False}
_SERVER = {"type": "clientServer", "name": "cs", "l4Proto": "tcp4", "address": "203.0.113.20:8080"}
_CLASS_FILE = b"\xca\xfe\xba\xbe" + bytes(12)


def _host(name: str, *args: str, **more: Any) -> dict[str, Any]:
    return {"context": {"processes": [{"name": name, "args": list(args)}]}, **more}


def _contained(name: str, *args: str, **more: Any) -> dict[str, Any]:
    return {"context": {"container": _UNPRIVILEGED, "processes": [{"name": name, "args": list(args)}]}, **more}


def _privileged(name: str, *args: str, **more: Any) -> dict[str, Any]:
    return {"context": {"container": {}, "processes": [{"name": name, "args": list(args)}]}, **more}


def _call(name: str, **args: Any) -> dict[str, Any]:
    return {"type": "syscall", "name": f"{name}_", "syscall": name, "args": args}


def _steps(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"context": None, "steps": list(steps)}


def _open(pathname: str, flags: str, mode: int = 0) -> dict[str, Any]:
    return _call("openat", pathname=pathname, flags=flags, mode=mode)


def _file(path: str) -> dict[str, Any]:
    return {"type": "fd", "name": "made", "subtype": "file", "filePath": path}


GENERATED: Mapping[str, Mapping[str, Any]] = {
    "ChangeNamespacePrivilegesViaUnshare": _contained("unshare", steps=[_call("unshare")]),
    "ChangeThreadNamespace": _steps(_call("setns", fd=0)),
    "ClearLogActivities": _steps(_open("/tmp/syslog", _CREATE, 0o644)),
    "ContactEC2InstanceMetadataServiceFromContainer": _contained(
        *("nc", "169.254.169.254", "80"),
        resources=[{"type": "clientServer", "name": "cs", "l4Proto": "tcp4", "address": "169.254.169.254:80"}],
    ),
    "ContainerDriftDetectedChmod": _contained(
        "event-generator",
        resources=[_file("/tmp/eg_chmod")],
        steps=[_call("fchmodat", pathname="/tmp/eg_chmod", mode=0o755)],
    ),
    "ContainerDriftDetectedOpenCreate": _contained(
        "event-generator", steps=[_open("/tmp/eg_open_create", _CREATE, 0o755)]
    ),
    "CreateFilesBelowDev": _steps(_open("/dev/eg_file", _EXCLUSIVE, 0o600)),
    "CreateHiddenFilesOrDirectories": _steps(_call("mkdirat", pathname="/tmp/.eg_hidden", mode=0o700)),
    "CreateSymlinkOverSensitiveFiles": _host(
        *("ln", "-s", "/etc", "/tmp/eg_etc_link"),
        steps=[_call("symlinkat", target="/etc", linkpath="/tmp/eg_etc_link")],
    ),
    "DebugfsLaunchedInPrivilegedContainer": _privileged("debugfs", "-V"),
    "DecodingPayloadInContainer": _contained("echo", "ZGVjb2RlZF9ieV9ldmVudC1nZW5lcmF0b3I=", "|", "base64", "-d"),
    "DeleteOrRenameShellHistory": {
        "resources": [_file("/tmp/eg_history/ash_history")],
        **_steps(_call("unlinkat", pathname="/tmp/eg_history/ash_history")),
    },
    "DetectCryptoMinersUsingTheStratumProtocol": _host("echo", "-o stratum+tcp", "-u user", "-p pass"),
    "DetectReleaseAgentFileContainerEscapes": _privileged(
        "sh", "-c", "echo 'hello world' > release_agent", steps=[_open("release_agent", _CREATE, 0o644)]
    ),
    "DropAndExecuteNewBinaryInContainer": {
        "context": {"container": _UNPRIVILEGED, "processes": [{"name": "eg_new_binary", "exe": "/bin/eg_new_binary"}]}
    },
    "ExecutionFromDevShm": _host("sh", "-c", "/dev/shm/eg_script.sh"),
    "FindAwsCredentials": _host("find", "/tmp", "-maxdepth", "1", "-iname", ".aws/credentials"),
    "InterpretedProcsInboundNetworkActivity": _host("lua", resources=[_SERVER]),
    "InterpretedProcsOutboundNetworkActivity": _host("lua", resources=[_SERVER]),
    "JavaProcessClassFileDownload": _host(
        "java",
        resources=[_SERVER],
        steps=[
            _call("accept4", fd="${ cs.server.fd }"),
            _call("sendto", fd="${ accept4_ }", buf=_CLASS_FILE, len=len(_CLASS_FILE)),
            _call("recvfrom", fd="${ cs.client.fd }"),
        ],
    ),
    "LaunchIngressRemoteFileCopyToolsInContainer": _contained("wget", "-V"),
    "LaunchPackageManagementProcessInContainer": _contained("apt-get", "--version"),
    "LaunchRemoteFileCopyToolsInContainer": _contained("scp"),
    "LaunchSuspiciousNetworkToolInContainer": _contained("nmap", "-sn", "192.168.1.0/24"),
    "ModifyBinaryDirs": _steps(_call("renameat", oldpath="/bin/true", newpath="/bin/true.eg_renamed")),
    "ModifyContainerEntrypoint": _contained("event-generator", steps=[_open("/proc/self/fd/1", "O_WRONLY|O_CLOEXEC")]),
    "MountLaunchedInPrivilegedContainer": _privileged("mount", "-o"),
    "PolkitLocalPrivilegeEscalationVulnerabilityCVE20214034": {
        "context": {"processes": [{"name": "pkexec", "user": "daemon"}]}
    },
    "PtraceAttachedToProcess": {
        "resources": [{"type": "process", "name": "sleeper"}],
        **_steps(_call("ptrace", request="PTRACE_ATTACH", pid="${ sleeper.pid }")),
    },
    "ReadSensitiveFileTrustedAfterStartup": _host(
        "httpd", before_script="sleep 6", steps=[_open("/etc/shadow", "O_RDONLY|O_CLOEXEC")]
    ),
    "ReadSensitiveFileUntrusted": _steps(_open("/etc/shadow", "O_RDONLY|O_CLOEXEC")),
    "ReadShellConfigurationFile": {
        "resources": [_file("/tmp/eg_shell/.bashrc")],
        **_steps(_open("/tmp/eg_shell/.bashrc", "O_RDONLY|O_CLOEXEC")),
    },
    "RemoveBulkDataFromDisk": _host("shred", "-u", "/tmp/eg_bulk"),
    "RunShellUntrusted": {"context": {"processes": [{"name": "httpd"}, {"name": "bash", "args": ["-c", "ls"]}]}},
    "ScheduleCronJobs": _host("crontab", "-l"),
    "SudoPotentialPrivilegeEscalation": {
        "context": {"processes": [{"name": "sudoedit", "args": ["-u", "daemon", "-s", "ls\\"], "user": "daemon"}]}
    },
    "SystemProcsNetworkActivity": _host("sha1sum", resources=[_SERVER]),
    "UnprivilegedDelegationOfPageFaultsHandlingToAUserspaceProcess": {
        "context": {"processes": [{"name": "child", "user": "daemon"}]},
        "steps": [_call("userfaultfd")],
    },
    "WriteBelowBinaryDir": _steps(_open("/bin/eg_file", _EXCLUSIVE, 0o600)),
    "WriteBelowEtc": _steps(_open("/etc/eg_file", _EXCLUSIVE, 0o600)),
}
