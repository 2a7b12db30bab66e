"""The page of ``driftline config explain``: what a configuration means for a model, in words and tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from driftline.decide.explain import SHIFTS, ChannelPart, Explanation, KpiPart, SignalPart
from driftline.decide.explain_plugins import PluginPart
from driftline.decide.texts import duration, number, percent
from driftline.publish.drawing import table
from driftline.publish.text import printable

WEEK_SECONDS: Final = 7 * 24 * 3600
NAME_CHARS: Final = 32
NONE_SEEN: Final = 3.0  # alarms that none seen rule out with 95 % confidence (the rule of three)
MEASURE_CHARS: Final = 80
NOTE_CHARS: Final = 500


def explanation_lines(page: Explanation, cpu_us: float, plugins: Sequence[PluginPart] = ()) -> Iterator[str]:
    """The page; ``cpu_us`` is the CPU of an event as measured just now."""
    rate = page.events_per_week / WEEK_SECONDS
    yield (
        f"{printable(page.model)}: baseline {page.reference_id} of {page.reference_rows:,} rows, "
        f"{number(rate)} events/s"
    )
    yield (
        f"  Budget: at most {number(page.false_alarms_per_week)} false alarms a week over all {page.sources} "
        "sources: channels, the shape of each signal, traffic; a tenth is kept for later features."
    )
    yield (
        f"  Left alone: shifts under {number(page.tolerance_sd)} reference standard deviations, and changes "
        f"shorter than {page.min_duration_events:,} events ({_time(page, page.min_duration_events)})."
    )
    yield (
        f"  Cost: {cpu_us:.1f} us of CPU an event (measured now, 2,000 synthetic rows, one core), that is "
        f"{percent(cpu_us * 1e-6 * rate)} of a core; {_bytes(page.state_bytes)} of memory, "
        f"snapshot {_bytes(page.snapshot_bytes)}."
    )
    yield ""
    yield "  Expected delay until an alert, in events, after a shift in reference standard deviations (of a"
    yield "  number, or of the share of the most frequent category), by the e-detector; the other detectors"
    yield "  only shorten it. '-': within what is tolerated, or never told apart from chance."
    yield ""
    yield from table([["signal", *(f"{s:g} sd" for s in SHIFTS)], *(_delays(page, s) for s in page.signals)])
    yield ""
    by = [f"{page.window_rows:,} events"] if page.window_rows else []
    by += [duration(page.window_ms)] if page.window_ms else []
    yield f"  The shape of every signal is tested in windows of {' or '.join(by)}."
    for period in ("daily", "weekly"):
        names = [printable(s.name, NAME_CHARS) for s in page.signals if s.season == period]
        if names:
            yield f"  Compared with their own hour, UTC ({period} season): {', '.join(names)}."
    yield from (f"  Note: {printable(note, NOTE_CHARS)}." for note in page.notes)
    yield ""
    yield "  Channels. A: events between two false alarms by the channel; B: by each of its detectors."
    yield ""
    rows = [_channel(s, c) for s in page.signals for c in s.channels]
    yield from table([["signal", "channel", "reference", "tolerated", "tau", "A", "B", "detectors"], *rows])
    if plugins:
        yield ""
        yield "  Detectors of river, which the budget does not cover. False alarms: those on"
        yield f"  {plugins[0].rows:,} independent rows like the reference; dependent rows make more."
        yield ""
        head = ["signal", "channel", "detector", "an alarm", "false alarms", "a week", "CPU an event"]
        yield from table([head, *(_plugin(page, plugin) for plugin in plugins)])
    if page.kpis:
        yield ""
        yield from kpi_lines(page.kpis)


def kpi_lines(kpis: Sequence[KpiPart]) -> Iterator[str]:
    """The KPIs of a model; none of them draws on the budget."""
    yield "  KPIs: bounds that were agreed, outside of the budget of false alarms."
    yield ""
    rows = [[k.name, printable(k.measure, MEASURE_CHARS), k.window, k.agreed, k.severity] for k in kpis]
    yield from table([["KPI", "measure", "window", "agreed", "severity"], *rows])


def as_json(page: Explanation, cpu_us: float, plugins: Sequence[PluginPart] = ()) -> dict[str, Any]:
    """The same as plain data; delays also in minutes."""
    body = {**asdict(page), "cpu_us_per_event": round(cpu_us, 3)}
    body["plugins"] = [
        {
            **asdict(p),
            "false_alarms_per_week": p.alarms / p.rows * page.events_per_week,
            "covered": False,
        }
        for p in plugins
    ]
    for signal, part in zip(body["signals"], page.signals, strict=True):
        signal["delays"] = [
            {"shift_sd": s, "events": d, "minutes": None if d is None else page.minutes(d)}
            for s, d in zip(SHIFTS, part.delays, strict=True)
        ]
        for channel in signal["channels"]:
            if not channel["detectors"]:
                channel["run_length"] = channel["detector_run_length"] = None
    return body


def _delays(page: Explanation, signal: SignalPart) -> list[str]:
    cells = ["-" if d is None else f"{d:,.0f} ({_time(page, d)})" for d in signal.delays]
    return [printable(signal.name, NAME_CHARS), *cells]


def _channel(signal: SignalPart, channel: ChannelPart) -> list[str]:
    name = printable(signal.name, NAME_CHARS)
    if not channel.detectors:
        return [name, printable(channel.name, NAME_CHARS), "nothing to compare with"]
    low, high = channel.tolerated
    return [
        name,
        printable(channel.name, NAME_CHARS),
        percent(channel.mean),
        f"{percent(low)} to {percent(high)}",
        number(channel.tau),
        f"{channel.run_length:.2g}",
        f"{channel.detector_run_length:.2g}",
        " + ".join(channel.detectors),
    ]


def _plugin(page: Explanation, plugin: PluginPart) -> list[str]:
    weekly = (plugin.alarms or NONE_SEEN) / plugin.rows * page.events_per_week
    return [
        printable(plugin.signal, NAME_CHARS),
        printable(plugin.channel, NAME_CHARS),
        plugin.detector,
        "opens an episode" if plugin.opens else "is evidence",
        f"{plugin.alarms:,}",
        number(weekly) if plugin.alarms else f"under {number(weekly)}",
        f"{plugin.cpu_us:.1f} us",
    ]


def _time(page: Explanation, events: float) -> str:
    seconds = page.minutes(events) * 60.0
    return f"{number(seconds)} s" if seconds < 90.0 else duration(round(seconds * 1000.0))


def _bytes(count: int) -> str:
    return f"{count / 1024:,.0f} KB"
