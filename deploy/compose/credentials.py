"""Passwords of the compose cluster, and the key that signs its rules: made once, each in the volume of whom it is for.

credentials.py make         make what is missing
credentials.py users        have the broker know the users; as its administrator
credentials.py show NAME    print one password, console-token, audit-token, or the certificate that readers check
"""

import ipaddress
import os
import secrets
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

FOLDER = Path("/secrets")
LANNER, KAFKA, GRAFANA = 10001, 1000, 472
"""User ids in the images."""
OWNERS = {
    "admin": KAFKA,
    "collector": 0,
    "processor": LANNER,
    "notifier": LANNER,
    "console": LANNER,
    "archive": LANNER,
    "kubernetes-audit": LANNER,
    "publisher": LANNER,
    "enroller": LANNER,
    "operator": LANNER,
    "reader": 0,
    "grafana": GRAFANA,
}
PARTS = tuple(name for name in OWNERS if name not in ("admin", "grafana"))
"""Users of the broker, lanner-NAME, with the rights of `lanner topics acls --for NAME`."""
SECONDS = 60


def make() -> None:
    """Make what is missing; a password of Grafana's that was chosen stands above the one that was made."""
    chosen = os.environ.get("LANNER_GRAFANA_PASSWORD", "")
    for name, owner in OWNERS.items():
        file = FOLDER / name / "password"
        if name == "grafana" and chosen:
            put(file, chosen, owner)
        elif not file.exists():
            put(file, secrets.token_urlsafe(32), owner)
    admin = (FOLDER / "admin/password").read_text()
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    users = f'plain={login} username="admin" password="{admin}" user_admin="{admin}";\n'
    # For clients that can't use SCRAM; nobody else can log in there.
    reader = (FOLDER / "reader/password").read_text()
    users += f'readers={login} user_lanner-reader="{reader}";\n'
    put(FOLDER / "admin/users.properties", users, KAFKA)
    make_certificate(os.environ.get("LANNER_KAFKA_ADVERTISED") or "127.0.0.1")
    if not (FOLDER / "console/tokens").exists():
        put(FOLDER / "console/tokens", f"admin analyst {secrets.token_urlsafe(32)}\n", LANNER)
    if not (FOLDER / "kubernetes-audit/token").exists():
        put(FOLDER / "kubernetes-audit/token", secrets.token_urlsafe(32), LANNER)
    if not (FOLDER / "publisher/rules.key").exists():
        make_key()
    put(FOLDER / "processor/rules.pub", (FOLDER / "publisher/rules.pub").read_text(), LANNER)


def make_key() -> None:
    """Make the key that signs rules; only who publishes has its private half."""
    key = Ed25519PrivateKey.generate()
    pem = serialization.Encoding.PEM
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    put(FOLDER / "publisher/rules.pub", public.decode(), LANNER)
    put(FOLDER / "publisher/rules.key", private.decode(), LANNER)


def make_certificate(advertised: str) -> None:
    """Make the certificate of the listener for readers that use PLAIN, unless there is one for this address."""
    pem, certificate = FOLDER / "admin/broker.pem", FOLDER / "reader/certificate"
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.DNSName("kafka")]
    for each in dict.fromkeys(("127.0.0.1", advertised)):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(each)))
        except ValueError:
            names.append(x509.DNSName(each))
    if pem.exists() and certificate.exists():
        made = x509.load_pem_x509_certificate(certificate.read_bytes())
        if list(made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == names:
            return
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kafka")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    text = signed.public_bytes(encoding).decode()
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    put(pem, private + text, KAFKA)
    put(certificate, text, 0)


def put(file: Path, text: str, owner: int) -> None:
    """Write a file that its owner alone can read; whole, or not at all."""
    made = file.with_suffix(".new")
    made.unlink(missing_ok=True)
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as opened:
        opened.write(text)
    os.chown(made, owner, owner)
    made.rename(file)


def users() -> None:
    """Create the users at the broker, each with the password in its volume."""
    client = AdminClient(
        {
            "bootstrap.servers": os.environ["LANNER__KAFKA__BOOTSTRAP_SERVERS"],
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": "admin",
            "sasl.password": (FOLDER / "admin/password").read_text(),
            "log_level": 0,
        }
    )
    kind = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    known = [
        UserScramCredentialUpsertion(f"lanner-{name}", kind, (FOLDER / name / "password").read_bytes())
        for name in PARTS
    ]
    for answer in client.alter_user_scram_credentials(known).values():
        answer.result(SECONDS)
    required = {f"lanner-{name}" for name in PARTS}
    until = time.monotonic() + SECONDS
    while not required <= client.describe_user_scram_credentials().result(SECONDS).keys():
        if time.monotonic() > until:
            raise TimeoutError("the broker does not know the users yet")
        time.sleep(0.2)


def show(name: str) -> None:
    """Print one password, the token that opens the console or that API servers present, or the broker's certificate."""
    if name == "console-token":
        sys.stdout.write((FOLDER / "console/tokens").read_text().split()[-1] + "\n")
        return
    if name == "audit-token":
        sys.stdout.write((FOLDER / "kubernetes-audit/token").read_text() + "\n")
        return
    if name == "certificate":
        sys.stdout.write((FOLDER / "reader/certificate").read_text())
        return
    if name not in OWNERS:
        others = "there are also console-token, audit-token and certificate"
        sys.exit(f"{name!r} has no password: {', '.join(OWNERS)} have; {others}.")
    sys.stdout.write((FOLDER / name / "password").read_text() + "\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make"]:
            make()
        case ["users"]:
            users()
        case ["show", name]:
            show(name)
        case _:
            sys.exit(__doc__)
