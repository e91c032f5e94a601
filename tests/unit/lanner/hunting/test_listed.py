"""Hunts for what a file of indicators has, and conditions with lists: SQL finds what the engine finds."""

import json
from pathlib import Path

import pytest

from lanner.errors import BadInput
from lanner.hunting.hunt import Hunt
from lanner.hunting.listed import listed_condition, read_listed
from lanner.hunting.results import HuntResult
from lanner.hunting.sources import Chunk
from lanner.recorder.search import compile_search
from lanner.recorder.store import EventRange
from processor.loading import RuleFile
from schemas.batch import EventBatch, EventBit
from schemas.encoding.batch import encode_batch
from schemas.encoding.recording import RecordingWriter
from tests.unit.lanner.hunting.test_conditions import found_by_engine, rows_of
from tests.unit.lanner.program import lanner
from tests.unit.processor.batches import batch_of

_DIGEST = "ab" * 32


def looked_up() -> EventBatch:
    """Return connections, answers of name servers and a ClientHello."""
    to = {"type": "connect", "fd_type": "ipv4", "local_ip": "10.0.0.5", "local_port": 40000, "remote_port": 443}
    to["bits"] = int(EventBit.HAS_ROLE)
    return batch_of(
        {**to, "remote_ip": "198.51.100.7"},
        {**to, "remote_ip": "192.0.2.1"},
        {"type": "recvfrom", "dns": "a.evil.example A NOERROR 198.51.100.9 203.0.113.5"},
        {"type": "recvfrom", "dns": "notevil.example A NOERROR 203.0.113.5"},
        {"type": "recvfrom", "dns": "good.example A NXDOMAIN"},
        {"type": "sendto", "server_name": "EVIL.example"},
        {"type": "close"},
    )


class _Rows:
    remarks: tuple[str, ...] = ()

    def chunks(self, *_: object) -> list[Chunk]:
        """Return the events in two chunks, whose tables differ."""
        rows = rows_of([looked_up()])
        return [Chunk(rows.slice(0, 4)), Chunk(rows.slice(4))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fd.sip in_indicators (networks)", {0}),
        ("fd.ip in_indicators (networks)", {0}),
        ("dns.answers in_indicators (networks)", {2}),
        ("dns.question.name in_indicators (domains)", {2}),
        ("not tls.client.server_name in_indicators (domains)", {0, 1, 2, 3, 4, 6}),
        ("fd.ip in_indicators (networks) or tls.client.server_name in_indicators (domains, networks)", {0, 5}),
        ("fd.ip in_indicators (networks) and evt.args contains XYZ", set()),
    ],
)
def test_sql_decides_on_lists_as_the_engine_does(text: str, expected: set[int], tmp_path: Path) -> None:
    """Networks, names below an entry, both ends, all answers, and what is missing."""
    (tmp_path / "networks.txt").write_text("198.51.100.0/24\n")
    (tmp_path / "domains.txt").write_text("evil.example\n")
    items = "".join(
        f"- indicators: {name}\n  file: {tmp_path / name}.txt\n  kind: {kind}\n"
        for name, kind in (("networks", "address"), ("domains", "name"))
    )
    condition = compile_search(text, [RuleFile("lists.yaml", items)])
    prepared = Hunt(condition, HuntResult(fields=("evt.num",)))
    found = prepared.run(_Rows(), EventRange(0), lambda: False, lambda _: None)  # type: ignore[arg-type]

    batch = looked_up()
    (matches,) = found_by_engine([batch], condition.compiled) or [set()]
    assert {index for _, index in matches} == expected
    assert {number - batch.first_number for number in found["evt.num"].to_pylist()} == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("feed", "198.51.100.0/24 # network\nevil.example ; C2\n" + _DIGEST + "\n\x1b[31m!\n"),
        ("feed.csv", f"ioc,value\n1,198.51.100.0/24\n2,evil.example\n3,{_DIGEST}\n4,\x1b[31m!\n"),
        ("feed.json", json.dumps({"type": "bundle", "objects": [
            {"type": "indicator", "pattern": f"[ipv4-addr:value = '198.51.100.7' OR domain-name:value = 'evil.example'"
             f" OR file:hashes.'SHA-256' = '{_DIGEST}']"}, {"type": "indicator"}]})),
        ("event.json", json.dumps({"Event": {"Attribute": [
            {"type": "domain|ip", "value": "evil.example|198.51.100.7"}, {"type": "sha256", "value": _DIGEST},
            {"type": "sha256", "value": "!"}]}})),
    ],
)  # fmt: skip
def test_a_file_has_entries_of_each_kind(name: str, text: str, tmp_path: Path) -> None:
    """Each is recognized by its form, in each format; what can't be used is counted."""
    (tmp_path / name).write_text(text)
    found = read_listed(tmp_path / name, None)
    assert {each.kind: len(each.contents.table) for each in found.lists} == {"address": 1, "digest": 1, "name": 1}
    assert found.rejected_count == 1

    hits = found_by_engine([looked_up()], listed_condition(found, None).compiled)
    assert {index for _, index in hits[0]} >= {0, 2, 5}
    condition = listed_condition(found, compile_search("evt.type = connect", ()))
    assert {index for _, index in found_by_engine([looked_up()], condition.compiled)[0]} == {0}


def test_a_file_without_entries_is_an_error(tmp_path: Path) -> None:
    """What it has isn't shown: it could be any other file, such as one with passwords."""
    (tmp_path / "shadow").write_text("root:$6$secret:20000:0\n")
    with pytest.raises(BadInput, match="shadow:1:1: it is no address") as raised:
        read_listed(tmp_path / "shadow", None)
    assert "secret" not in str(raised.value)
    with pytest.raises(BadInput, match="No such file"):
        read_listed(tmp_path / "missing", None)


def test_the_command_finds_what_a_file_has(tmp_path: Path) -> None:
    """It shows the fields by which an event was found, and how many entries there are."""
    writer = RecordingWriter(tmp_path / "events.avro")
    writer.write(encode_batch(looked_up()))
    writer.close()
    (tmp_path / "feed.csv").write_text("dst_ip,malware\n198.51.100.0/24,Emotet\nevil.example,Emotet\n")
    common = ("hunt", "--file", tmp_path / "events.avro", "--since", "4000d", "--indicators", tmp_path / "feed.csv")

    found = lanner(*common, "--column", "dst_ip", "--group-by", "dns.question.name,fd.sip", "--format", "csv")
    assert "1 address or network, 1 name" in found.stderr
    assert {tuple(line.split(",")[:2]) for line in found.stdout.splitlines()[1:]} == {
        ("a.evil.example", ""), ("", "198.51.100.7"), ("", "")
    }  # fmt: skip
    shown = lanner(*common, "--column", "dst_ip", "evt.type = connect")
    assert "198.51.100.7" in shown.stdout
    assert "dns.question.name" in shown.stdout
    explained = lanner(*common, "--column", "dst_ip", "--explain")
    assert "SQL decides the whole condition" in explained.stdout

    wrong = lanner(*common)
    assert (wrong.returncode, "there is no column 'value'" in wrong.stderr) == (1, True)
    assert lanner("hunt", "--column", "x").returncode == 2
