import json
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bus.actions import action_message, verified
from bus.messages import SIGNATURE
from bus.topics import ACTION_INTENTS
from processor.actions.policies import ActionBudget
from processor.actions.requests import ActionRequest, action_result, encode_request, encode_reset
from processor.fleet.actions import ActionStage
from schemas.action import ActionIntent, ActionResult

MINUTE = 60_000_000_000
KEY = Ed25519PrivateKey.generate()
INTENT = ActionIntent(
    id="i", type="kill", target="process", host_id="h", hostname="web-3", state="do", text="process 7 (nc)",
    created=1, policy="end", pid=7, start_time=5,
)  # fmt: skip


def stage(*blobs: bytes) -> ActionStage:
    """Return a stage that owns partition 0, with stored state."""
    made = ActionStage(lambda intent: action_message(intent, KEY))
    assert made.begin(0, blobs, -1) == 0
    return made


def take(owner: ActionStage, offset: int, minute: int = 0, **change: object) -> tuple[ActionIntent | None, list[str]]:
    """Pass a request on; return the intent that was sent, and the rules of the alerts."""
    intent = replace(INTENT, id=f"i{offset}", **{"pid": 100 + offset, **change})  # type: ignore[arg-type]
    request = encode_request(ActionRequest(intent, ActionBudget(per_hour=2), 100))
    result = owner.take(0, b"end", request, minute * MINUTE, offset)
    assert result.refused == ""
    alerts = [alert.rule for alert in result.alerts]
    if not result.sent:
        return None, alerts
    ((topic, _, value, headers),) = result.sent
    assert topic == ACTION_INTENTS
    signature = dict(headers)[SIGNATURE]
    assert isinstance(signature, bytes)
    return verified(value, signature, ActionIntent, [KEY.public_key()]).record, alerts


def refusals(owner: ActionStage, offsets: range, **change: object) -> list[str | None]:
    """Return why each of several requests is refused; None if nothing is sent."""
    found = [take(owner, offset, **change)[0] for offset in offsets]
    return [None if intent is None else intent.refusal for intent in found]


def test_a_policy_does_what_its_budget_allows() -> None:
    """Then one refused intent and one alert state why, and nothing is sent until a person resets the fuse."""
    owner = stage()
    assert refusals(owner, range(2)) == ["", ""]
    intent, alerts = take(owner, 2)
    assert intent is not None
    assert intent.refusal.startswith("the fuse has blown: 2 in an hour, at ")
    assert alerts == ["Lanner internal: actions stopped"]
    assert refusals(owner, range(3, 5)) == [None, None]
    # A reset from before it blew is delivered again.
    owner.take(0, b"end", encode_reset(-1), 9, 5)
    assert refusals(owner, range(6, 7)) == [None]
    owner.take(0, b"end", encode_reset(MINUTE), 9, 7)
    assert refusals(owner, range(8, 9)) == [""]


def test_a_target_is_hit_once_while_the_action_lasts() -> None:
    """A request that is delivered again, and a further alert about the target, change nothing."""
    owner = stage()
    freeze = {"type": "freeze", "target": "container", "container_id": "3f2", "lease": 15 * MINUTE}
    assert refusals(owner, range(3), **freeze) == ["", None, None]
    assert take(owner, 3, minute=16, **freeze)[0] is not None


def test_the_next_owner_decides_as_the_former_one_would() -> None:
    """Whatever the former one had sent: what was written before it died counts."""
    owner = stage()
    assert refusals(owner, range(1)) == [""]
    (change,) = owner.take_changes(0)
    assert (change.record, change.cause, owner.take_changes(0)) == (b"end", 0, [])
    assert owner.everything(0) == {b"end": change.blob}
    heir = stage(change.blob or b"")
    assert refusals(heir, range(2)) == [None, ""]
    assert [each.split(":")[0] for each in refusals(heir, range(2, 3)) if each] == ["the fuse has blown"]


def test_what_is_no_request_is_buried() -> None:
    """With a reason, and without an effect; unreadable state is counted."""
    owner = stage()
    good = encode_request(ActionRequest(INTENT, ActionBudget(), 1))
    wrong = [b"", b"[]", b"{}", b"9", b"x" * 99_999, json.dumps({**json.loads(good), "hosts": "x"}).encode()]
    for value in wrong:
        assert owner.take(0, b"end", value, 0, 1).refused.startswith("not decodable: "), value
    assert owner.take(0, b"other", good, 0, 1).refused == "its key is not its policy"
    assert owner.take(0, b"\xff", good, 0, 1).refused.startswith("not decodable: ")
    assert owner.take_changes(0) == []
    assert owner.begin(1, [b"", b"[]", b"{}"], 0) == 3


def test_a_result_is_an_alert() -> None:
    """So that it reaches every sink; its id is the same however often the result is read."""
    result = ActionResult("i", "h", "web-3", "done", "killed 1 process", 9, by="ann")
    alert = action_result(result, INTENT)
    assert alert == action_result(result, INTENT)
    assert alert.output == "kill process 7 (nc): done, by ann | killed 1 process"
    assert alert.output_fields["action.policy"] == "end"
    assert action_result(replace(result, outcome="failed"), None).priority == "Error"
