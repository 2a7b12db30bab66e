"""The console's pages and forms, asked as a browser would."""

from __future__ import annotations

import asyncio
import json
import re
import time
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import pytest

from driftline.console.access import Access
from driftline.console.live import Live
from driftline.console.server import Options, serve
from driftline.console.web import BODY_BYTES_MAX, HEADERS, Web, application
from driftline.errors import OperatorError, OutsideError
from driftline.records import OutputRecord
from harness.asgi import HOST, Answer, ask
from harness.page_story import HOUR, T0, alert, report, story

TOKEN = "0123456789abcdef"  # noqa: S105 - of this test
EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>\x1b\u202e'
GETS = ("/", "/model?name=m", "/signal?model=m&name=age", "/enter", "/live", "/console.js", "/nothing")


class Console:
    """A console with the story in it."""

    def __init__(self, records: list[dict[str, Any]] | None = None, **options: Any) -> None:
        self.live = Live()
        self.live.take(story() if records is None else records)
        self.live.caught_up()
        self.sent: list[OutputRecord] = []
        self.error: Exception | None = None
        access = Access(options.pop("token", TOKEN), lambda: 0.0)
        self.app = application(Web(self.live, access, self._send, **options), ["127.0.0.1"])

    async def _send(self, record: OutputRecord) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append(record)

    def ask(self, target: str, form: dict[str, str] | bytes | None = None, **headers: str) -> Answer:
        """One request."""
        return asyncio.run(ask(self.app, target, form, **headers))

    def enter(self) -> tuple[str, str]:
        """A session: its cookie, and the key of its forms."""
        answer = self.ask("/enter", {"token": TOKEN, "name": "jane", "next": "/model?name=m"})
        assert (answer.status, answer.headers["location"]) == (303, "/model?name=m")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        cookie = cookie.split(";")[0]
        found = re.search(r'name="key" value="([^"]+)"', self.ask("/", cookie=cookie).text)
        assert found is not None
        return cookie, found[1]


def form(key: str, **fields: str) -> dict[str, str]:
    """A form that mutes."""
    return {
        "key": key, "action": "mute", "hours": "4", "model": "m", "signal": "age",
        "why": "known", "next": "/",
    } | fields  # fmt: skip


def test_models_are_listed_by_health_and_filtered() -> None:
    """The sickest first; by name and by state; counts of all."""
    quiet = [r | {"model": "quiet"} for r in [report(1, {"a": 0.1})]]
    console = Console([*story(), *quiet, *story("ill-2")])
    text = console.ask("/").text
    assert text.index(">ill-2<") < text.index(">m<") < text.index(">quiet<")
    assert "<b>2</b>" in text
    assert ">quiet<" not in console.ask("/?q=ILL").text
    assert "1 model, the sickest" in console.ask("/?state=ok").text
    assert "No model is like that" in console.ask("/?q=nothing").text


def test_the_pages_say_what_the_topics_say() -> None:
    """A model, a signal, an episode: open alerts, statistics, performance, evidence."""
    console = Console()
    model = console.ask("/model?name=m").text
    for text in ("Signals by drift", "is higher than in training, opened", "Accuracy", "land", "0.2<"):
        assert text in model, text
    signal = console.ask("/signal?model=m&name=age").text
    assert "Reference against current" in signal
    assert "Kolmogorov-Smirnov distance" in signal
    link = re.search(r'href="(/episode[^"]+)"', model)
    assert link is not None
    episode = console.ask(link[1].replace("&amp;", "&")).text
    for text in ("Evidence", "e-detector", "p50", "Deciding event"):
        assert text in episode, text
    for gone in ("/model?name=x", "/signal?model=m&name=x", "/episode?model=m&signal=age&number=9&opened=1"):
        assert console.ask(gone).status == 404


def test_what_people_said_of_an_episode_is_shown() -> None:
    """Muted and acknowledged, with until, by whom and why."""
    mute = {"until": "2026-11-25T18:00:00.000Z", "by": "jane", "why": "campaign"}
    for more, word in (
        ({"muted": True, "mute": mute}, "muted"),
        ({"acknowledged": {"by": "jane", "why": "campaign"}}, "acknowledged"),
    ):
        console = Console([alert("opened", 2, opened=2) | more | {"check_first": "Look at the import."}])
        assert f"({word})" in console.ask("/model?name=m").text
        opened = T0 + 2 * HOUR
        text = console.ask(f"/episode?model=m&signal=age&number=0&opened={opened}").text
        assert "by jane: campaign" in text
        assert "Look at the import." in text


@pytest.mark.parametrize("target", GETS)
def test_every_answer_has_the_headers(target: str) -> None:
    """The policy has no inline anything; pages are not kept."""
    answer = Console().ask(target)
    for name, value in HEADERS.items():
        assert name in answer.headers
        assert answer.headers[name] == value or name == "cache-control"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert " style=" not in answer.text
    assert " onclick" not in answer.text


def test_another_name_is_refused() -> None:
    """A page elsewhere whose name points here reads nothing (DNS rebinding)."""
    assert Console().ask("/", host="evil.example:9465").status == 400


def test_hostile_names_are_text_on_every_page() -> None:
    """Model, signal, category, summary: no element, no attribute, no control character; links still work."""
    console = Console(story(EVIL, EVIL, EVIL))
    model = quote(EVIL)
    pages = [
        "/", f"/?q={model}", f"/model?name={model}", f"/signal?model={model}&name={model}",
        f"/episode?model={model}&signal={model}&number=0&opened={T0 + 2 * HOUR}",
        f"/enter?next={model}", f"/model?name={quote(EVIL + 'x')}",
    ]  # fmt: skip

    class Page(HTMLParser):
        """Collects what should not be."""

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            """An element."""
            names = dict(attrs)
            assert tag != "img"
            assert tag != "script" or names == {"src": "/console.js", "defer": None}
            assert not any(name.startswith("on") for name in names)

    for target in pages:
        answer = console.ask(target)
        assert answer.status == (404 if target.endswith("x") else 200)
        Page().feed(answer.text)
        assert not {"\x1b", "\u202e"} & set(answer.text)


def test_to_mute_writes_a_command() -> None:
    """As schemas/command.v1.json wants it: until in the future, by whom and why."""
    console = Console()
    cookie, key = console.enter()
    answer = console.ask("/act", form(key), cookie=cookie, origin=f"http://{HOST}")
    assert (answer.status, answer.headers["location"]) == (303, "/?sent=mute")
    body = json.loads(console.sent[0].value)
    until = body.pop("until")
    assert until > time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 3 * 3600))
    assert body == {"type": "alert.mute", "model": "m", "signal": "age", "by": "jane", "why": "known"}
    assert console.sent[0].key == b"m"
    assert "Sent: mute" in console.ask("/?sent=mute", cookie=cookie).text
    assert "Sent" not in console.ask("/?sent=<b>", cookie=cookie).text
    console.ask("/act", form(key, action="ack", signal=""), cookie=cookie)
    assert json.loads(console.sent[1].value) == {
        "type": "alert.ack",
        "model": "m",
        "by": "jane",
        "why": "known",
    }


@pytest.mark.parametrize(
    ("change", "headers", "status"),
    [
        ({"key": "x"}, {}, 403),
        ({}, {"cookie": "driftline=guess"}, 403),
        ({}, {"origin": "http://evil.example"}, 403),
        ({}, {"origin": "null"}, 403),
        ({"action": "close"}, {}, 400),
        ({"hours": "100000"}, {}, 400),
        ({"model": "no model"}, {}, 400),
        ({"signal": "x" * 141}, {}, 400),
        ({"why": " "}, {}, 400),
    ],
)
def test_other_forms_change_nothing(change: dict[str, str], headers: dict[str, str], status: int) -> None:
    """No session, no key, another origin, another action: refused, and no command is written."""
    console = Console()
    cookie, key = console.enter()
    answer = console.ask("/act", form(key) | change, **({"cookie": cookie} | headers))
    assert (answer.status, console.sent) == (status, [])


def test_a_get_never_acts_and_a_large_body_is_nothing() -> None:
    """Links and images cannot mute; a body beyond the limit is not read."""
    console = Console()
    cookie, key = console.enter()
    assert console.ask(f"/act?key={key}&action=ack&model=m&why=x", cookie=cookie).status == 405
    large = b"why=" + b"x" * BODY_BYTES_MAX + f"&key={key}&action=ack&model=m".encode()
    assert console.ask("/act", large, cookie=cookie).status == 403
    assert console.ask(f"/?q={'x' * 3_000}").status == 414
    assert not console.sent


def test_kafka_away_is_said() -> None:
    """503, and nothing else breaks."""
    console = Console()
    cookie, key = console.enter()
    console.error = OutsideError("kafka at 127.0.0.1:1: refused.")
    assert console.ask("/act", form(key), cookie=cookie).status == 503
    assert console.ask("/", cookie=cookie).status == 200


def test_without_a_session_there_are_no_forms() -> None:
    """And without a token no way to get one."""
    assert 'action="/act"' not in Console().ask("/model?name=m").text
    assert "Enter to mute" in Console().ask("/").text
    assert "Enter to mute" not in Console(token=None).ask("/").text
    assert Console(token=None).ask("/enter", {"token": "", "name": "x"}).status == 403


def test_entering_goes_nowhere_else() -> None:
    """The page after it is one of ours, whatever the link said; another origin cannot log somebody in."""
    for target in ("https://evil.example", "//evil.example", "/\\evil.example", "javascript:x", "/\r\nx: y"):
        answer = Console().ask("/enter", {"token": TOKEN, "name": "jane", "next": target})
        assert answer.headers["location"] == "/"
    wrong = Console().ask("/enter", {"token": TOKEN, "name": "jane"}, origin="http://evil.example")
    assert wrong.status == 403


def test_leaving_ends_the_session() -> None:
    """The cookie is worth nothing afterwards."""
    console = Console()
    cookie, key = console.enter()
    assert console.ask("/leave", {"key": "x"}, cookie=cookie).status == 403
    assert console.ask("/leave", {"key": key}, cookie=cookie).status == 303
    assert console.ask("/act", form(key), cookie=cookie).status == 403


def test_beyond_this_machine_reading_needs_a_session_too() -> None:
    """Every page and the stream; only the probes, the style and the script do not."""
    console = Console(private=True)
    for target in ("/", "/model?name=m", "/signal?model=m&name=age"):
        answer = console.ask(target)
        assert (answer.status, answer.headers["location"]) == (303, f"/enter?next={quote(target)}")
        assert b"age" not in answer.body
    assert console.ask("/events").status == 403
    assert console.ask("/ready").status == 200
    cookie, _ = console.enter()
    assert console.ask("/model?name=m", cookie=cookie).status == 200
    with pytest.raises(OperatorError, match="could read every model's data"):
        serve(None, Options(host="0.0.0.0"))  # type: ignore[arg-type] # noqa: S104 - refused before it is read


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("a.example", False)],  # noqa: S104
)
def test_loopback_is_known(host: str, own: bool) -> None:
    """What only this machine can reach."""
    assert Options(host=host).loopback is own


def test_ready_waits_for_the_topics() -> None:
    """Until they were read once: 503, and the page says so."""
    console = Console([])
    console.live.begin_again()
    assert console.ask("/ready").status == 503
    assert "reading the topics" in console.ask("/").text
    console.live.caught_up()
    assert console.ask("/ready").status == 200
    assert "No model has had an alert" in console.ask("/").text


def test_a_change_is_on_the_page_at_once() -> None:
    """Rendered pages are kept per version of the history, not longer."""
    console = Console()
    assert "2 episodes seen" in console.ask("/model?name=m").text
    console.live.take([alert("opened", 20, signal="new", opened=20)])
    assert "3 episodes seen" in console.ask("/model?name=m").text


def test_a_thousand_models_are_pages_of_a_hundred() -> None:
    """All can be reached; a page is small and quick."""
    console = Console([report(1, {"a": i / 1000}, model=f"m-{i:04}") for i in range(1_000)])
    console.ask("/")  # templates are compiled
    console.live.version += 1
    began = time.process_time()
    first = console.ask("/")
    assert time.process_time() - began < 0.5
    assert first.text.count('href="/model?') == 100
    assert "page 1 of 10" in first.text
    assert ">m-0999<" in console.ask("/?page=9").text
    assert ">m-0999<" in console.ask("/?page=99999").text
    assert len(first.body) < 100_000
