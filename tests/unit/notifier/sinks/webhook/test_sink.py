import pytest

from notifier.sinks.webhook.sink import key_of, message_id, signature


def test_a_signature_is_what_standard_webhooks_gives_as_its_example() -> None:
    """So that receivers' libraries verify ours."""
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_is_base64_only_where_it_reports_it() -> None:
    """Whoever has a passphrase uses that."""
    assert key_of("correct horse") == b"correct horse"
    with pytest.raises(ValueError, match="base64"):
        key_of("whsec_correct horse")


def test_a_request_has_the_alerts_id_or_one_of_all_its_ids() -> None:
    """The same at a second delivery; another batch has another."""
    assert message_id(["01a20e63-3df8"]) == "01a20e63-3df8"
    assert message_id(["a", "b"]) == message_id(["a", "b"]) != message_id(["a", "c"])
    assert "\n" not in message_id(["x\r\nX-Evil: yes"])
