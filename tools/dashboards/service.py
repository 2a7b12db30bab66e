"""The service itself: does it keep up, does it store, what does it cost."""

from __future__ import annotations

from typing import Any

from tools.dashboards.panels import JOB, fill, graph, label_variable, new, number, row, table

WORKER = f'{JOB}, instance=~"$instance"'
RATE = "[$__rate_interval]"


def build() -> Any:
    """The dashboard."""
    board = new(
        "driftline-service", "Driftline / Service", "Workers: throughput, lag, checkpoints, recovery, cost."
    ).with_variable(label_variable("instance", "Worker", f"driftline_build_info{{{JOB}}}", "instance"))
    return fill(
        board,
        _now(),
        [row("Ingest")],
        _ingest(),
        [row("Detect")],
        _detect(),
        [row("Checkpoints and recovery")],
        _storage(),
        [row("Process")],
        _process(),
    )


def _quantiles(metric: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Median and 99th percentile of a histogram over all workers."""
    buckets = f"sum by (le) (rate({metric}_bucket{{{WORKER}}}{RATE}))"
    return (
        (f"histogram_quantile(0.5, {buckets})", "median"),
        (f"histogram_quantile(0.99, {buckets})", "99th percentile"),
    )


def _now() -> list[Any]:
    return [
        number(
            "Workers ready",
            "Workers that have compiled and recovered; the same as /ready.",
            "none",
            (f"sum(driftline_ready{{{WORKER}}})", "ready"),
            steps=((None, "red"), (1, "green")),
        ),
        number(
            "Input lag",
            "Records of the raw topics not read yet.",
            "short",
            (f"sum(driftline_input_lag_records{{{WORKER}}})", "records"),
        ),
        number(
            "Mailbox lag",
            "Envelopes not applied yet, of the partition that is furthest behind.",
            "short",
            (f"max(driftline_mailbox_lag_records{{{WORKER}}})", "envelopes"),
        ),
        number(
            "Oldest checkpoint",
            "Time since the last checkpoint of the mailbox partition that waited longest.",
            "s",
            (f"max(time() - driftline_checkpoint_last_timestamp_seconds{{{WORKER}}})", "age"),
        ),
    ]


def _ingest() -> list[Any]:
    return [
        graph(
            "Accepted",
            "Rows a second decoded, validated and packed, by raw topic.",
            "cps",
            (f"sum by (topic) (rate(driftline_events_accepted_total{{{WORKER}}}{RATE}))", "{{topic}}"),
            span=8,
        ),
        graph(
            "Rejected and left out",
            "Rows a second refused (by reason code), null records left out, and rows that retention deleted "
            "before they were read.",
            "cps",
            (f"sum by (code) (rate(driftline_events_rejected_total{{{WORKER}}}{RATE}))", "{{code}}"),
            (f"sum(rate(driftline_events_filtered_total{{{WORKER}}}{RATE}))", "null records"),
            (f"sum(rate(driftline_events_lost_total{{{WORKER}}}{RATE}))", "lost to retention"),
            span=8,
        ),
        graph(
            "Input lag",
            "Records not read yet, by raw topic. Growing: add ingest workers, up to their partitions.",
            "short",
            (f"sum by (topic) (driftline_input_lag_records{{{WORKER}}})", "{{topic}}"),
            span=8,
        ),
        graph(
            "Flush",
            "From the first record of a flush to the acknowledgement of its last envelope. Seconds mean slow "
            "brokers or a starved CPU.",
            "s",
            *_quantiles("driftline_flush_duration_seconds"),
        ),
        graph(
            "Envelopes",
            "Envelopes a second sent to the mailbox and taken from it.",
            "cps",
            (f"sum(rate(driftline_envelopes_sent_total{{{WORKER}}}{RATE}))", "sent"),
            (f"sum(rate(driftline_envelopes_applied_total{{{WORKER}}}{RATE}))", "applied"),
        ),
    ]


def _detect() -> list[Any]:
    return [
        graph(
            "Rows applied",
            "Rows a second applied to models, by mailbox partition. One far above the others: a busy model.",
            "cps",
            (
                f"sum by (partition) (rate(driftline_rows_applied_total{{{WORKER}}}{RATE}))",
                "partition {{partition}}",
            ),
            span=8,
        ),
        graph(
            "Mailbox lag",
            "Envelopes not applied yet, by mailbox partition. Growing: add detect workers.",
            "short",
            (
                f"max by (partition) (driftline_mailbox_lag_records{{{WORKER}}})",
                "partition {{partition}}",
            ),
            span=8,
        ),
        graph(
            "Alert events",
            "Alerts made visible on the alerts topic in five minutes, by state.",
            "none",
            (f"sum by (state) (increase(driftline_alerts_emitted_total{{{WORKER}}}[5m]))", "{{state}}"),
            span=8,
        ),
    ]


def _storage() -> list[Any]:
    return [
        graph(
            "Headroom of retention",
            "Time until retention may delete what was not read (raw topics) or applied (mailbox), of the "
            "partition that is nearest. The whole retention while nothing waits.",
            "s",
            (
                f"min by (topic) (driftline_input_retention_headroom_seconds{{{WORKER}}})",
                "{{topic}}",
            ),
            (f"min(driftline_mailbox_retention_headroom_seconds{{{WORKER}}})", "mailbox"),
            span=24,
        ),
        graph(
            "Checkpoint time",
            "From the barrier to the committed transaction.",
            "s",
            *_quantiles("driftline_checkpoint_duration_seconds"),
            span=8,
        ),
        graph(
            "State written",
            "Bytes of state a second, before the broker's own compression.",
            "Bps",
            (f"sum(rate(driftline_checkpoint_bytes_total{{{WORKER}}}{RATE}))", "state"),
            span=8,
        ),
        graph(
            "Time since the last checkpoint",
            "By mailbox partition. Growing while rows are applied: the transaction hangs.",
            "s",
            (
                f"time() - max by (partition) (driftline_checkpoint_last_timestamp_seconds{{{WORKER}}})",
                "partition {{partition}}",
            ),
            span=8,
        ),
        graph(
            "Last take-over",
            "How long the last take-over of each mailbox partition took: fence, restore, seek.",
            "s",
            (
                f"max by (partition) (driftline_recovery_duration_seconds{{{WORKER}}})",
                "partition {{partition}}",
            ),
        ),
        graph(
            "State read by the last take-over",
            "Much more than the live state: compaction is behind.",
            "bytes",
            (f"max by (partition) (driftline_recovery_bytes{{{WORKER}}})", "partition {{partition}}"),
        ),
    ]


def _process() -> list[Any]:
    return [
        graph(
            "CPU",
            "CPU seconds a second; 1 is a whole core.",
            "none",
            (f"rate(process_cpu_seconds_total{{{WORKER}}}{RATE})", "{{instance}}"),
            span=8,
        ),
        graph(
            "Memory",
            "Resident memory.",
            "bytes",
            (f"process_resident_memory_bytes{{{WORKER}}}", "{{instance}}"),
            span=8,
        ),
        graph(
            "Open files",
            "File descriptors in use, against the limit of the process.",
            "none",
            (f"process_open_fds{{{WORKER}}}", "{{instance}}"),
            (f"process_max_fds{{{WORKER}}}", "limit of {{instance}}"),
            span=8,
        ),
        graph(
            "Restarts in an hour",
            "How often a worker was started again.",
            "none",
            (f"changes(process_start_time_seconds{{{WORKER}}}[1h])", "{{instance}}"),
            span=8,
        ),
        graph(
            "The metrics page",
            "Series left out because of the caps, and the time its last rendering took in milliseconds.",
            "none",
            (f"driftline_series_dropped{{{WORKER}}}", "left out, {{instance}}"),
            (f"1000 * driftline_scrape_duration_seconds{{{WORKER}}}", "milliseconds, {{instance}}"),
            span=8,
        ),
        table(
            "Versions",
            "Two versions for long: a rolling update did not finish.",
            "none",
            f"sum by (instance, version, python) (driftline_build_info{{{WORKER}}})",
            value="workers",
            span=8,
        ),
    ]
