"""Root directories with packages that rpm itself built and installed."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

_SPEC = """
Name: {name}
Epoch: {epoch}
Version: {version}
Release: 1
Summary: x
License: none
AutoReqProv: no
%description
%install
cp -a {files}/. %{{buildroot}}
%files
{paths}
"""
_PLACES = ("--define", "_dbpath /usr/lib/sysimage/rpm", "--define", "_db_backend sqlite")


class RpmRoot:
    """A root directory below a folder, to which rpm installs packages that it builds."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self._folder = folder
        self.root.mkdir()
        self.rpm("--initdb")

    def rpm(self, *arguments: str, checked: bool = True) -> str:
        """Run rpm for the root directory; return what it prints."""
        command = ["rpm", "--root", str(self.root), *_PLACES, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert not checked or done.returncode == 0, done.stderr
        return done.stdout

    def install(self, name: str, version: str, files: Mapping[str, bytes], epoch: int = 0) -> None:
        """Build a package with executable files, and install it, or upgrade to it."""
        work = self._folder / f"{name}-{version}"
        for path, content in files.items():
            place = work / "files" / path[1:]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
            place.chmod(0o755)
        spec = work / "x.spec"
        paths = "\n".join(files)
        spec.write_text(_SPEC.format(name=name, epoch=epoch, version=version, files=work / "files", paths=paths))
        build = [
            "rpmbuild",
            "-bb",
            "--define",
            f"_topdir {work}/top",
            "--define",
            "__os_install_post %{nil}",
            str(spec),
        ]
        build += ["--define", "_build_id_links none", str(spec)]
        done = subprocess.run(build, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        (package,) = (work / "top/RPMS").rglob("*.rpm")
        self.rpm("--upgrade", "--nodeps", "--ignorearch", str(package))

    def changed(self) -> dict[str, bool]:
        """Return the files of all packages, and whether rpm finds their digest changed."""
        found = dict.fromkeys(self.rpm("--query", "--all", "--list").split(), False)
        for flags, path in re.findall(r"^(\S{9}) .* (/\S+)$", self.rpm("-Va", checked=False), re.MULTILINE):
            found[path] = "5" in flags
        return found
