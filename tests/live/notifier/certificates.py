"""An authority of the test's own, a server's certificate and a client's."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files."""

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path
    stranger: Path
    """Another authority, which signed nothing here."""


def make_certificates(folder: Path) -> Certificates:
    """Make all of them, valid for localhost and 127.0.0.1."""
    for name in ("authority", "stranger"):
        _openssl(
            folder, f"req -x509 -newkey ec:p256.pem -nodes -keyout {name}.key -out {name}.pem -days 2 -subj /CN={name}"
        )
    for name, purpose in (("server", "serverAuth"), ("client", "clientAuth")):
        extensions = folder / f"{name}.ext"
        extensions.write_text(
            f"subjectAltName=DNS:localhost,IP:127.0.0.1,DNS:{name}.test\nextendedKeyUsage={purpose}\n"
        )
        _openssl(folder, f"req -newkey ec:p256.pem -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}.test")
        _openssl(
            folder,
            f"x509 -req -in {name}.csr -CA authority.pem -CAkey authority.key -CAcreateserial "
            f"-out {name}.pem -days 2 -extfile {name}.ext",
        )
    return Certificates(
        *(folder / name for name in ("authority.pem", "server.pem", "server.key", "client.pem", "client.key")),
        folder / "stranger.pem",
    )


def _openssl(folder: Path, arguments: str) -> None:
    parameters = folder / "p256.pem"
    if not parameters.exists():
        subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-out", parameters], check=True)
    subprocess.run(["openssl", *arguments.split()], cwd=folder, check=True, capture_output=True)
