import pytest

from driftline.publish.notify.memory import IDS_MAX, Open, Told, after, decode, encode, key
from driftline.publish.notify.notice import Notice, from_data
from harness.notices import alert

DAY = 86_400_000


def notice(event: str = "opened", **more: object) -> Notice:
    """An alert as it is read."""
    found = from_data(alert(event, **more))  # type: ignore[arg-type]
    assert found is not None
    return found


def test_what_was_told_survives_a_restart() -> None:
    """Encoded and decoded it is the same; nothing to keep is a tombstone."""
    told = after(Told(), notice(), 5 * DAY, {"labels": {"a": "<ü>"}}, delivered=True, retention_ms=DAY)
    assert told.open == Open(1, {"labels": {"a": "<ü>"}})
    assert told.handled(notice().id)
    assert decode(encode(told)) == told
    assert encode(Told()) is None
    assert decode(None) == Told()


def test_an_end_closes_and_a_mute_too() -> None:
    """The ids stay."""
    told = after(Told(), notice(), DAY, {}, delivered=True, retention_ms=DAY)
    for end in (notice("resolved", sequence=1), notice("updated", sequence=1, muted=True)):
        ended = after(told, end, DAY + 1, {}, delivered=True, retention_ms=DAY)
        assert ended.open is None
        assert ended.handled(end.id)
        assert ended.handled(notice().id)


def test_what_was_given_up_is_not_open() -> None:
    """The target has never heard of it; what it knew before it still knows."""
    told = after(Told(), notice(), DAY, {}, delivered=False, retention_ms=DAY)
    assert told.open is None
    assert told.handled(notice().id)


def test_ids_are_forgotten_with_their_alerts_and_bounded() -> None:
    """After the retention nobody can read them again; a signal that goes mad does not fill the memory."""
    told = Told()
    for n in range(IDS_MAX + 50):
        told = after(told, notice(episode=n), n, {}, delivered=True, retention_ms=DAY)
    assert len(told.ids) == IDS_MAX
    told = after(told, notice(episode=9_999), 9 * DAY, {}, delivered=True, retention_ms=DAY)
    assert [one for one, _ in told.ids] == [notice(episode=9_999).id]


@pytest.mark.parametrize(
    "value", [b"", b"[]", b'{"ids": 3, "open": null}', b'{"ids": [["a"]], "open": 1}', b"[" * 99_999]
)
def test_a_damaged_record_is_noticed(value: bytes) -> None:
    """None, so that it can be logged."""
    assert decode(value) is None


def test_targets_whose_names_begin_alike_have_keys_apart() -> None:
    """A name has no slash."""
    assert key("a", b"m/s") == b"a/m/s"
    assert not key("ab", b"m/s").startswith(b"a/")
