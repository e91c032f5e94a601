import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from notifier.sink import RoutedAlert
from notifier.sinks.slack.blocks import digest, headline, in_code, in_prose, length, message
from schemas.alert import Alert, Repeats
from tests.unit.alerts import alert

HOSTILE = "<!channel> <@U1> <https://evil|x> https://evil.example @here `code` *b* &amp; \x1b[31m\n\u202e:bomb:"


def shop(**facts: Any) -> Alert:
    """Make the alert of a container in a pod."""
    event = {"container.id": "0123456789ab", "container.name": "shop", "k8s.pod.name": "shop-7", "k8s.ns.name": "prod"}
    return alert(event=event, **facts)


def texts(value: Any) -> list[str]:
    """Return every text that Slack would parse in a message."""
    if isinstance(value, dict):
        own = [value["text"]] if isinstance(value.get("text"), str) else []
        return own + [text for item in value.values() for text in texts(item)]
    return [text for item in value for text in texts(item)] if isinstance(value, list) else []


def check_limits(made: dict[str, Any]) -> None:
    """Hold every limit of Block Kit's."""
    assert 0 < length(made["text"]) <= 4000
    (attachment,) = made["attachments"]
    blocks = attachment["blocks"]
    assert 0 < len(blocks) <= 50
    for block in blocks:
        if "text" in block:
            assert 0 < length(block["text"]["text"]) <= 3000
        assert len(block.get("fields", ["one"])) in range(1, 11)
        assert all(0 < length(field["text"]) <= 2000 for field in block.get("fields", []))
        assert len(block.get("elements", ["one"])) in range(1, 11)
        assert all(0 < length(element["text"]) <= 3000 for element in block.get("elements", []))
    assert sum(length(text) for text in texts(blocks)) < 13_000


def test_a_phone_shows_priority_rule_host_and_pod() -> None:
    """The top-level text is all that a notification has."""
    assert headline(shop(rule="Read sensitive file untrusted", hostname="web-3")) == (
        ":warning: Warning | Read sensitive file untrusted | web-3 / shop-7"
    )
    in_shop = alert(
        event={"container.id": "0123456789ab", "container.name": "shop"}, rule="Read sensitive file untrusted"
    )
    assert headline(in_shop) == ":warning: Warning | Read sensitive file untrusted | web-3 / shop"
    assert headline(alert(event={"container.id": "host", "container.name": "host"})).endswith("| web-3")


def test_fields_stand_in_the_order_of_their_worth_and_the_host_is_never_crowded_out() -> None:
    """Ten at most: what an analyst asks first, then the rule's own."""
    own = {f"evt.arg.a{number}": f"value {number}" for number in range(12)}
    event = {"proc.cmdline": "id", "user.name": "root", "proc.pname": "sh", "container.image.repository": "shop"}
    made = message(RoutedAlert(shop(output_fields={**event, **own, "container.name": "shop", "fd.name": None})))
    (fields,) = [block["fields"] for block in made["attachments"][0]["blocks"] if "fields" in block]

    names = [field["text"].split("*")[1].replace("\u2060", "") for field in fields]
    assert names == [
        *("command", "user", "parents", "image", "container", "pod", "evt.arg.a0", "evt.arg.a1", "evt.arg.a2", "host")
    ]
    assert fields[5]["text"].endswith("`prod/shop-7`")


def test_a_message_states_what_happened_why_it_matters_and_what_to_do() -> None:
    """The rule's own text follows, unless a route's template replaces it."""
    event = {"evt.type": "unlinkat", "proc.name": "rm", "fs.path.name": "/var/log/auth.log"}
    made = alert(event=event, output="the output", description="Logs show logins.", response="Look elsewhere.")
    plain, templated = (texts(message(RoutedAlert(made, text=text))["attachments"]) for text in (None, "our words"))
    shown = [text.replace("\u2060", "") for text in plain]

    assert shown[0] == "*A rule*\nrm removed /var/log/auth.log, on web-3"
    assert [text for text in shown if text.startswith(("*About*", "*Response*", "```"))] == [
        "*About* Logs show logins.",
        "*Response* Look elsewhere.",
        "```the output```",
    ]
    assert templated[1] == "```our words```"
    assert not any("the output" in text for text in templated)


def test_tags_of_attack_lead_to_its_pages() -> None:
    """Others stay text."""
    made = json.dumps(message(RoutedAlert(alert(tags=("T1003.008", "mitre_credential_access", "host")))))
    assert "<https://attack.mitre.org/techniques/T1003/008/|T1003.008>" in made
    assert "<https://attack.mitre.org/tactics/TA0006/|mitre_credential_access>" in made


def test_every_message_states_how_to_see_what_happened_around_it() -> None:
    """And that links are not to be unfolded."""
    made = message(RoutedAlert(alert()))
    assert f"`lanner context {alert().id}`" in texts(made)[-1]
    assert (made["unfurl_links"], made["unfurl_media"]) == (False, False)


def test_hostile_text_pages_nobody_and_links_nowhere() -> None:
    """Whatever is between angle brackets is ours; nothing else could be a mention, link or escape."""
    everywhere = alert(
        rule=HOSTILE,
        output=HOSTILE,
        output_fields={HOSTILE: HOSTILE},
        hostname=HOSTILE,
        description=HOSTILE,
        response=HOSTILE,
        tags=(HOSTILE,),
        event={"container.id": "0123456789ab", "container.name": HOSTILE, "proc.name": HOSTILE, "evt.type": "openat"},
    )
    for made in (message(RoutedAlert(everywhere)), digest([everywhere] * 30)):
        for text in texts(made):
            assert "<" not in text
            assert "\x1b" not in text
            assert "\u202e" not in text
            outside_code = "".join(text.split("`")[::2])
            assert "://" not in outside_code
            assert "@h" not in outside_code
            assert ":bomb:" not in outside_code
        for block in made["attachments"][0]["blocks"]:
            for text in texts(block):
                assert text.count("`") % 2 == 0


def test_a_summary_states_how_many_it_represents() -> None:
    """In the message and on the phone."""
    repeats = Repeats("first", 412, alert().time, alert().time + 60_000_000_000, 600_000_000_000)
    made = message(RoutedAlert(alert(repeats=repeats)))
    assert made["text"].endswith("| 412 more")
    assert any("*412* more from" in text for text in texts(made))


def test_a_digest_counts_every_alert() -> None:
    """The counts by rule add up, however many rules there are."""
    alerts = [alert(rule=f"Rule {number % 37}", hostname=f"web-{number % 5}") for number in range(480)]
    made = digest(alerts)
    check_limits(made)
    assert made["text"].startswith(":warning: 480 alerts of 37 rules")
    counted = [int(found) for text in texts(made)[1:-1] for found in re.findall(r"^.*?\*(\d+)\*", text, re.MULTILINE)]
    assert sum(counted) == 480
    assert "and 2 other hosts" in texts(made)[1]


def test_a_digest_lists_what_is_rare_among_many() -> None:
    """Decoys that make it a digest hide nothing."""
    event = {"proc.name": "cat", "user.name": "root", "evt.type": "openat"}
    names = [*(f"/tmp/decoys/{number}" for number in range(200)), "/home/bob/.ssh/id_rsa"]
    made = digest([alert(event=event | {"fd.name": name}) for name in names])
    check_limits(made)
    shown = texts(made)[1].replace("\u2060", "").splitlines()[1]
    assert shown.startswith("cat (root) opened /home/bob/.ssh/id_rsa, ")
    assert "cat (root) opened /tmp/decoys/… (192 times)" in shown


_TEXT = st.text(max_size=20) | st.builds(
    lambda part, times: part * times, st.text(min_size=1, max_size=4), st.just(5000)
)


@given(
    st.builds(
        alert,
        rule=_TEXT,
        output=_TEXT,
        hostname=_TEXT,
        cluster_name=_TEXT,
        description=_TEXT,
        response=_TEXT,
        output_fields=st.dictionaries(_TEXT, _TEXT | st.none() | st.integers(), max_size=12),
        tags=st.lists(_TEXT | st.just("T1003.008"), max_size=300).map(tuple),
        event=st.dictionaries(
            st.sampled_from(
                ["container.id", "container.name", "k8s.pod.name", "proc.cmdline", "evt.type", "proc.name"]
            ),
            _TEXT,
        ),
    )
)
def test_no_alert_exceeds_a_limit(made: Alert) -> None:
    """This holds whatever the length and whatever the characters."""
    check_limits(message(RoutedAlert(made)))
    check_limits(digest([made] * 12))


@given(_TEXT, st.integers(1, 300))
def test_a_text_is_cut_to_its_place(text: str, limit: int) -> None:
    """Never through an entity, and never longer than asked."""
    for shorten in (in_code, in_prose):
        made = shorten(text, limit)
        assert length(made) <= limit
        assert all(rest.startswith(("amp;", "lt;", "gt;")) for rest in made.split("&")[1:])
