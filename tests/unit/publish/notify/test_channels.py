"""What webhooks, Slack and Alertmanager are sent, for honest alerts and for hostile ones."""

import base64
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from driftline.publish.notify.alertmanager import POSTED_MAX, Alertmanager
from driftline.publish.notify.notice import Channel, Notice, from_data
from driftline.publish.notify.slack import Slack
from driftline.publish.notify.webhook import Webhook
from harness.notices import alert

KEYS = (bytes(range(32)), bytes(range(32, 64)))
NOW = 1_795_946_400.0  # 2026-11-29T10:00:00Z
HOSTILE = (
    "<!channel> <https://evil.example|click> *bold* _it_ ~x~ `code` & \"quoted\" 'single' </script>"
    "\r\nX-Injected: yes\x00\x1b[31m\u202egnp.exe \ud800 :fire: @here {{ .Values }}"
)


def notice(event: str = "opened", **more: Any) -> Notice:
    """An alert as it is read."""
    found = from_data(alert(event, **more))
    assert found is not None
    return found


def secret(key: bytes) -> str:
    """As a receiver is given it."""
    return "whsec_" + base64.b64encode(key).decode()


CHANNELS: tuple[Channel, ...] = (
    Webhook("https://a.example", "cloudevents", KEYS, "t"),
    Webhook("https://a.example", "alert"),
    Slack("https://hooks.example"),
    Alertmanager("https://am.example/api/v2/alerts", token="t"),  # noqa: S106 - of a test
)


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda c: type(c).__name__)
def test_hostile_names_stay_text(channel: Channel) -> None:
    """Headers are visible ASCII of ours, bodies are JSON in one piece, and the URL is the configured one."""
    what = notice(signal=HOSTILE, summary=HOSTILE, runbook="javascript:alert(1)")
    request = channel.tell(what, None, NOW)
    for name, value in request.headers.items():
        assert re.fullmatch(r"[\x21-\x7e]+( [\x21-\x7e]+)*", f"{name}:{value}")
    assert request.url == channel.url  # type: ignore[attr-defined]
    assert request.body.isascii()
    json.loads(request.body)


def test_an_independent_implementation_accepts_the_signature() -> None:
    """Of either secret, so that one can be replaced; a changed body, id or time is refused."""
    # The verifier compares with its own clock.
    now = datetime.now(tz=UTC).timestamp()
    request = Webhook("https://a.example", "cloudevents", KEYS).tell(notice(), None, now)
    headers = dict(request.headers)
    for key in KEYS:
        assert Verifier(secret(key)).verify(request.body, headers) == json.loads(request.body)
    for wrong in (
        (request.body + b" ", headers),
        (request.body, headers | {"webhook-id": "another"}),
        (request.body, headers | {"webhook-timestamp": str(int(now) + 1)}),
    ):
        with pytest.raises(WebhookVerificationError):
            Verifier(secret(KEYS[0])).verify(*wrong)
    with pytest.raises(WebhookVerificationError):
        Verifier(secret(b"x" * 32)).verify(request.body, headers)


def test_the_idempotency_key_is_the_alert_and_the_time_that_of_the_attempt() -> None:
    """A retry is the same message with a new signature."""
    channel, what = Webhook("https://a.example", keys=KEYS[:1]), notice()
    first, second = (channel.tell(what, None, at) for at in (NOW, NOW + 60))
    assert first.headers["webhook-id"] == second.headers["Idempotency-Key"] == what.id
    assert first.body == second.body
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


def test_a_webhook_is_sent_a_cloud_event_or_the_alert() -> None:
    """Structured mode with the attributes that the topic has, or schemas/alert.v1.json."""
    what = notice()
    event = json.loads(Webhook("https://a.example").tell(what, None, NOW).body)
    assert event.pop("data") == what.data
    assert event == {
        "specversion": "1.0",
        "id": what.id,
        "source": "/driftline/credit-risk",
        "type": "driftline.alert.opened",
        "time": what.time,
        "subject": "age",
        "datacontenttype": "application/json",
    }
    plain = Webhook("https://a.example", "alert", token="t0ken").tell(what, None, NOW)  # noqa: S106 - of a test
    assert json.loads(plain.body) == what.data
    assert plain.headers["Content-Type"] == "application/json"
    assert plain.headers["Authorization"] == "Bearer t0ken"
    assert "webhook-signature" not in plain.headers


def texts(value: Any) -> list[str]:
    """Every text of a message with its type."""
    if isinstance(value, dict):
        own = [f"{value.get('type')}|{value['text']}"] if isinstance(value.get("text"), str) else []
        return own + [text for part in value.values() for text in texts(part)]
    return [text for part in value for text in texts(part)] if isinstance(value, list) else []


def test_slack_shows_names_as_they_are() -> None:
    """Names stand in plain text only, without anything that Slack reads as a mention, link or entity."""
    message = json.loads(Slack("https://x").tell(notice(signal=HOSTILE, summary=HOSTILE), None, NOW).body)
    found = texts(message)
    assert len(found) == 6
    assert [t for t in found if t.startswith("mrkdwn|")] == ["mrkdwn|<https://example.org/runbook|Runbook>"]
    for text in found:
        if not text.startswith("mrkdwn|"):
            assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)|[\x00-\x1f\u202e]", text)
    assert message["mrkdwn"] is False
    assert all(block["text"]["emoji"] is False for block in message["blocks"] if "text" in block)


def test_slack_stays_within_its_limits() -> None:
    """3,000 characters a text, after escaping."""
    found = texts(json.loads(Slack("https://x").tell(notice(summary="&" * 5_000), None, NOW).body))
    assert max(len(text.partition("|")[2]) for text in found) in range(2_900, 3_001)
    assert not any(re.search(r"&(?!amp;)", text) for text in found)


@pytest.mark.parametrize(
    "runbook", ["javascript:x", "https://a|b", "https://a> <!channel>", "", "https://a\nb"]
)
def test_a_runbook_that_is_no_plain_link_is_left_out(runbook: str) -> None:
    """It stands between < and >."""
    message = json.loads(Slack("https://x").tell(notice(runbook=runbook), None, NOW).body)
    assert not [text for text in texts(message) if text.startswith("mrkdwn|")]


def posted(channel: Alertmanager, what: Notice, known: Any = None) -> list[dict[str, Any]]:
    """The alerts of a request, with their times as Unix seconds."""
    found: list[dict[str, Any]] = json.loads(channel.tell(what, known, NOW).body)
    for one in found:
        for name in ("startsAt", "endsAt"):
            one[name] = datetime.fromisoformat(one[name]).timestamp()
    return found


def test_alertmanager_is_told_how_long_to_believe_it() -> None:
    """Four reminders may be lost; an end is now."""
    channel = Alertmanager("https://x", resend_seconds=60)
    (opened,) = posted(channel, notice())
    assert opened["labels"] == {
        "alertname": "DriftlineEpisode", "model": "credit-risk", "signal": "age", "severity": "warning",
    }  # fmt: skip
    assert opened["endsAt"] == pytest.approx(NOW + 240, abs=0.01)
    (ended,) = posted(channel, notice("resolved"))
    assert ended["endsAt"] == pytest.approx(NOW, abs=0.01)
    assert ended["startsAt"] <= ended["endsAt"]
    assert ended["labels"] == opened["labels"]


def test_another_severity_ends_the_alert_under_the_old_one() -> None:
    """Labels are an alert's identity: the old one would stay open beside the new."""
    channel = Alertmanager("https://x")
    known = channel.remember(notice())
    new, old = posted(channel, notice("updated", severity="critical"), known)
    assert (new["labels"]["severity"], old["labels"]["severity"]) == ("critical", "warning")
    assert old["endsAt"] == pytest.approx(NOW, abs=0.01)
    assert old["endsAt"] < new["endsAt"]
    (ended,) = posted(channel, notice("resolved", severity="critical"), known)
    assert ended["labels"]["severity"] == "warning"  # as it was told
    (muted,) = posted(channel, notice("updated", severity="critical", muted=True), known)
    assert (muted["labels"]["severity"], muted["endsAt"]) == ("warning", pytest.approx(NOW, abs=0.01))


def test_an_alert_of_a_clock_that_is_ahead_is_not_refused() -> None:
    """Alertmanager wants the start before the end; events may be five minutes ahead."""
    ahead = "9998-01-01T00:00:00.000Z"
    (ended,) = posted(Alertmanager("https://x"), notice("resolved", opened_at=ahead))
    assert ended["startsAt"] == ended["endsAt"] == pytest.approx(NOW, abs=0.01)


def test_reminders_come_in_requests_of_bounded_size() -> None:
    """Thousands of open episodes are several requests."""
    channel = Alertmanager("https://x")
    known = [channel.remember(notice(signal=f"s{n}")) for n in range(2 * POSTED_MAX + 1)]
    sizes = [len(json.loads(request.body)) for request in channel.remind(list(known), NOW)]
    assert sizes == [POSTED_MAX, POSTED_MAX, 1]
    assert channel.remind([], NOW) == []
