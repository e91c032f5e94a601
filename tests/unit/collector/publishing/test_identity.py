import json
import os
import subprocess
from pathlib import Path

import pytest

from bus import signatures
from bus.messages import BATCH_DOMAIN, CLOCK, HOST_DOMAIN, KEY, SENT, SIGNATURE, signed_content
from collector.publishing.identity import BadKeyFile, HostIdentity, SigningKey, host_key
from schemas.host_keys import decode_announcement, key_id


def test_a_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    """The second start has the first one's key; no other file is left in the folder."""
    path = tmp_path / "state" / "host.key"
    first = host_key(path)
    assert host_key(path).public_key == first.public_key
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["host.key"]
    assert host_key(tmp_path / "other.key").public_key != first.public_key


def test_openssl_reads_the_file_and_ours_reads_openssls(tmp_path: Path) -> None:
    """An operator can inspect a key with standard tools."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    public = host_key(ours).public_key
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", theirs], check=True, capture_output=True)
    theirs.chmod(0o600)
    for path, expected in ((ours, public), (theirs, host_key(theirs).public_key)):
        command = ["openssl", "pkey", "-in", path, "-pubout", "-outform", "DER"]
        shown = subprocess.run(command, check=True, capture_output=True).stdout
        assert shown.endswith(expected)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    """They may know it, or it may be theirs."""
    path = tmp_path / "host.key"
    host_key(path)
    path.chmod(mode)
    with pytest.raises(BadKeyFile, match="chmod 600"):
        host_key(path)


def test_a_file_that_holds_no_key_is_left_as_it_is(tmp_path: Path) -> None:
    """A new key needs an operator, so a restart must not create one."""
    path = tmp_path / "host.key"
    host_key(path)
    whole = path.read_bytes()
    for broken in (b"", whole[:60], whole.replace(b"MC4CAQAw", b"MC4CAQBw"), b"\xff" * 5000, b"secret"):
        path.write_bytes(broken)
        with pytest.raises(BadKeyFile, match="not an Ed25519 private key") as reported:
            host_key(path)
        assert "secret" not in str(reported.value)
        assert path.read_bytes() == broken


def test_links_and_pipes_are_not_followed(tmp_path: Path) -> None:
    """Neither to a key elsewhere, nor to a pipe that blocks."""
    host_key(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(OSError, match="symbolic links"):
        host_key(tmp_path / "link")
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(BadKeyFile, match="not a regular file"):
        host_key(tmp_path / "pipe")


def identity() -> HostIdentity:
    """Return an invented host's identity."""
    return HostIdentity("host-1", "web-1", "0.1.0", SigningKey(bytes(range(32))))


def test_a_signature_covers_all_that_a_reader_believes() -> None:
    """The topic, the id it is sent under, the headers that correct times, each byte of the batch."""
    who = identity()
    reported = {SENT: b"5", CLOCK: b"-7", "content-type": b"avro/binary"}
    headers = dict(who.signature("t.events", b"host-1", reported, b"batch"))
    key = signatures.bare_public_key(bytes(headers[KEY]))  # type: ignore[arg-type]  ours are bytes
    signature = bytes(headers[SIGNATURE])  # type: ignore[arg-type]  as above

    def is_good(topic: str = "t.events", name: bytes = b"host-1", value: bytes = b"batch", **changed: bytes) -> bool:
        content = signed_content(topic, name, reported | changed, value)
        return signatures.is_signed_by(key, signature, BATCH_DOMAIN, content)

    assert is_good()
    assert not is_good(topic="u.events")
    assert not is_good(name=b"host-2")
    assert not is_good(value=b"batcH")
    assert not is_good(**{SENT: b"6"})
    assert not is_good(**{CLOCK: b""})
    assert is_good(**{"content-type": b"x"})


def test_nothing_can_be_moved_from_one_part_of_the_content_to_another() -> None:
    """Each part is preceded by its length."""
    contents = {
        signed_content("a", b"bc", {}, b""),
        signed_content("ab", b"c", {}, b""),
        signed_content("a", b"b", {}, b"c"),
        signed_content("a", b"b", {SENT: b"c"}, b""),
        signed_content("a", b"b", {CLOCK: b"c"}, b""),
    }
    assert len(contents) == 5


def test_an_announcement_is_signed_by_the_key_that_it_is_about() -> None:
    """Nobody can announce a key without having it; two keys of one id are separate entries of the topic."""
    who = identity()
    key, value, headers = who.announcement()
    said = decode_announcement(value)
    assert (said.host_id, said.hostname, said.public_key) == ("host-1", "web-1", who.key.public_key)
    assert key.decode() == f"host-1\x1f{key_id(said.public_key)}"
    signature = dict(headers)[SIGNATURE]
    assert isinstance(signature, bytes)
    assert signatures.is_signed_by(signatures.bare_public_key(said.public_key), signature, HOST_DOMAIN, value)
    assert not signatures.is_signed_by(signatures.bare_public_key(said.public_key), signature, BATCH_DOMAIN, value)
    assert json.loads(value)["public_key"] == said.public_key.hex()
