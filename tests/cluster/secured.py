"""A real broker with deploy/kafka/secured.properties and certificates from its script."""

import subprocess
import time
import uuid
from pathlib import Path

from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from bus.acls import PARTS
from bus.administration import Administration, create_missing
from bus.connection import Connection, SaslMechanism, client_config
from bus.topics import DAY_MS, plan
from tests.cluster.broker import Broker
from tests.ports import free_port

DEPLOY = Path(__file__).parents[2] / "deploy" / "kafka"
PARTITIONS = 2


class SecuredBroker(Broker):
    """A broker with two listeners, and users by certificate, PLAIN and SCRAM for each part of a fleet."""

    def __init__(self, folder: Path, extra: str = "") -> None:
        super().__init__(folder)
        self.etc = folder / "etc"
        self.sasl_port = free_port()
        self.certify("authority")
        self.certify("broker", "broker", "localhost")
        for user in self.users:
            self.certify("client", user)
        plain = " ".join(f'user_{user}="{self.password(user)}"' for user in self.users)
        users = self.etc / "users.properties"
        users.touch(0o600)
        users.write_text(f"plain=org.apache.kafka.common.security.plain.PlainLoginModule required {plain};\n")
        text = (DEPLOY / "secured.properties").read_text()
        for found, expected in {
            "/etc/kafka": str(self.etc),
            "/var/lib/kafka": str(folder / "data"),
            "0.0.0.0:9093": f"127.0.0.1:{self.port}",
            "kafka-1.example.com:9093": f"localhost:{self.port}",
            "0.0.0.0:9094": f"127.0.0.1:{self.sasl_port}",
            "kafka-1.example.com:9094": f"localhost:{self.sasl_port}",
            "0.0.0.0:9095": f"127.0.0.1:{self._controller}",
            "kafka-1.example.com:9095": f"localhost:{self._controller}",
        }.items():
            assert found in text
            text = text.replace(found, expected)
        (folder / "extra.properties").write_text(text + extra)

    @property
    def users(self) -> list[str]:
        """All principals, by the broker's names."""
        return ["admin", *(f"lanner-{part}" for part in PARTS)]

    def password(self, user: str) -> str:
        """Return a user's password."""
        return f"secret-of-{user}"

    def certify(self, *arguments: str, days: int = 2) -> None:
        """Run deploy/kafka/certificates.sh."""
        certify(self.etc, *arguments, days=days)

    @staticmethod
    def authority(folder: Path, client: str) -> Path:
        """Create another certificate authority and a client certificate from it."""
        certify(folder, "authority")
        certify(folder, "client", client)
        return folder

    def by_certificate(self, user: str, prefix: str = "lanner.") -> Connection:
        """Connect with mutual TLS."""
        return Connection(
            bootstrap_servers=f"localhost:{self.port}",
            prefix=prefix,
            security_protocol="ssl",
            ca_file=str(self.etc / "ca.crt"),
            certificate_file=str(self.etc / f"{user}.crt"),
            key_file=str(self.etc / f"{user}.key"),
        )

    def by_password(self, user: str, mechanism: SaslMechanism, prefix: str = "lanner.") -> Connection:
        """Connect with username and password over TLS."""
        return Connection(
            bootstrap_servers=f"localhost:{self.sasl_port}",
            prefix=prefix,
            security_protocol="sasl_ssl",
            sasl_mechanism=mechanism,
            username=user,
            password=self.password(user),
            ca_file=str(self.etc / "ca.crt"),
        )

    def populate(self) -> None:
        """Create the SCRAM users, as an administrator does."""
        client = AdminClient(client_config(self.by_certificate("admin"), "test-admin"))
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            kind = ScramCredentialInfo(mechanism, 4096)
            credentials = [
                UserScramCredentialUpsertion(user, kind, self.password(user).encode()) for user in self.users
            ]
            for answer in client.alter_user_scram_credentials(credentials).values():
                answer.result()

    def fleet(self) -> str:
        """Create a fleet's topics and ACLs, as an administrator does.

        Returns:
            Its prefix.
        """
        prefix = f"t{uuid.uuid4().hex[:8]}."
        admin = self.by_certificate("admin", prefix)
        create_missing(admin, plan(prefix, PARTITIONS, 1, DAY_MS))
        administration = Administration(admin)
        for part, grants in PARTS.items():
            administration.allow(grants, f"User:lanner-{part}")
        self._await_right(f"lanner-{part}", prefix)
        return prefix

    def _await_right(self, user: str, prefix: str) -> None:
        """Wait until the newest ACL is active, and so all of them; the broker applies them with a delay."""
        client = AdminClient(client_config(self.by_certificate(user, prefix), "test"))
        deadline = time.monotonic() + 30
        while not any(name.startswith(prefix) for name in client.list_topics(timeout=20).topics):
            assert time.monotonic() < deadline, f"{user} has no rights yet"
            time.sleep(0.05)


def certify(folder: Path, what: str, *arguments: str, days: int = 2) -> None:
    """Run deploy/kafka/certificates.sh. days: 0 for an expired certificate."""
    subprocess.run(
        [DEPLOY / "certificates.sh", what, folder, *arguments],
        env={"PATH": "/usr/bin:/bin", "LANNER_CERTIFICATE_DAYS": str(days)},
        check=True,
        stdin=subprocess.DEVNULL,
    )
