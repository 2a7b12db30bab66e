"""Every metric that Driftline exports: a closed set, each with its meaning and what to do about it.

The three ``Literal`` types make mypy refuse an unknown name or a wrong verb (``add`` on a gauge). The page
``docs/metrics.md`` is generated from this file by ``python -m driftline.publish.catalogue``; a test fails
when they differ. Base units only; one metric for one statistic, so that a sum over labels means something.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final, Literal

CounterName = Literal[
    "driftline_events_accepted_total",
    "driftline_events_rejected_total",
    "driftline_events_filtered_total",
    "driftline_events_lost_total",
    "driftline_envelopes_sent_total",
    "driftline_envelopes_applied_total",
    "driftline_rows_applied_total",
    "driftline_checkpoint_bytes_total",
    "driftline_alerts_emitted_total",
    "driftline_notifications_delivered_total",
    "driftline_notification_failures_total",
    "driftline_notifications_given_up_total",
    "driftline_notifications_skipped_total",
    "driftline_scrape_errors_total",
]
GaugeName = Literal[
    "driftline_build_info",
    "driftline_ready",
    "driftline_input_lag_records",
    "driftline_input_retention_seconds",
    "driftline_input_retention_headroom_seconds",
    "driftline_mailbox_lag_records",
    "driftline_mailbox_retention_seconds",
    "driftline_mailbox_retention_headroom_seconds",
    "driftline_checkpoint_last_timestamp_seconds",
    "driftline_recovery_duration_seconds",
    "driftline_recovery_bytes",
    "driftline_notification_failed_attempts",
    "driftline_notification_lag_records",
    "driftline_notifications_open",
]
HistogramName = Literal["driftline_flush_duration_seconds", "driftline_checkpoint_duration_seconds"]
# Written only by ``Metrics`` itself: from the models' views, and about the scrape.
DerivedName = Literal[
    "driftline_alert_active",
    "driftline_signals_firing",
    "driftline_kpi_value",
    "driftline_kpi_bound",
    "driftline_kpi_breached",
    "driftline_models",
    "driftline_model_state",
    "driftline_last_event_timestamp_seconds",
    "driftline_model_rows_total",
    "driftline_episodes_opened_total",
    "driftline_episodes_resolved_total",
    "driftline_suspicions_dismissed_total",
    "driftline_type_mismatches_total",
    "driftline_signal_shift_sd",
    "driftline_signal_missing_ratio",
    "driftline_psi",
    "driftline_jensen_shannon_distance",
    "driftline_hellinger_distance",
    "driftline_l_infinity_distance",
    "driftline_ks_distance",
    "driftline_wasserstein_distance",
    "driftline_chi_squared",
    "driftline_later_features",
    "driftline_plugin_alarms_total",
    "driftline_model_version_changes_total",
    "driftline_actions_total",
    "driftline_labels_joined_total",
    "driftline_labels_orphaned_total",
    "driftline_labels_duplicate_total",
    "driftline_labels_conflicting_total",
    "driftline_predictions_expired_total",
    "driftline_predictions_without_id_total",
    "driftline_predictions_pending",
    "driftline_label_coverage_ratio",
    "driftline_label_delay_seconds",
    "driftline_performance_accuracy",
    "driftline_performance_precision",
    "driftline_performance_recall",
    "driftline_performance_f1",
    "driftline_performance_auc",
    "driftline_performance_log_loss",
    "driftline_performance_brier",
    "driftline_performance_calibration_error",
    "driftline_performance_mae",
    "driftline_performance_rmse",
    "driftline_performance_bias",
    "driftline_performance_r2",
    "driftline_performance_window_end_timestamp_seconds",
    "driftline_series_dropped",
    "driftline_scrape_duration_seconds",
]
MetricName = CounterName | GaugeName | HistogramName | DerivedName
Kind = Literal["counter", "gauge", "histogram"]

# A flush takes 1-100 ms, a checkpoint 10 ms to its transaction timeout; few, because each is a series.
DURATION_BUCKETS_SECONDS: Final = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One line of the catalogue; ``remedy`` says what to do when the value looks wrong."""

    name: MetricName
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    meaning: str
    remedy: str


CATALOGUE: Final[tuple[Metric, ...]] = (
    # --- what is drifting -------------------------------------------------------------------------------
    Metric(
        "driftline_alert_active",
        "gauge",
        "1 while open",
        ("model", "signal", "severity", "state"),
        "An episode of this signal is open: its live values no longer look like the reference. Absent when "
        "none is. `state` is `firing`, `acknowledged` (somebody deals with it) or `muted`: page on "
        '`{state="firing"}` only, as the shipped rules do.',
        "Read the alert (`driftline alerts tail --model MODEL --from-beginning`): it says what changed, "
        "since when and by "
        "how much. If the new values are right, promote a new baseline; if not, look at the data source.",
    ),
    Metric(
        "driftline_kpi_value",
        "gauge",
        "the measure's own",
        ("model", "kpi"),
        "Value of a KPI in its last window. No series: it said nothing (too few rows that count, no labels).",
        "Outside of `driftline_kpi_bound`: see the alert of the signal `kpi.NAME`, which says since when.",
    ),
    Metric(
        "driftline_kpi_bound",
        "gauge",
        "the measure's own",
        ("model", "kpi", "side"),
        "The bounds agreed for a KPI: `side` is min or max.",
        "Not what was agreed: change `kpis` in the configuration.",
    ),
    Metric(
        "driftline_kpi_breached",
        "gauge",
        "1 while breached",
        ("model", "kpi", "severity"),
        "1 while an episode of the KPI is open, that is once a breach has lasted for its `for`; 0 otherwise.",
        "1: the owner and you agreed that this must not happen; docs/runbook.md, DriftlineKpiBreached.",
    ),
    Metric(
        "driftline_signals_firing",
        "gauge",
        "signals",
        ("severity",),
        "Signals with an open episode, muted and acknowledged ones included, over all models of this worker; "
        "exact even when the series cap hides some.",
        "Many at once mostly mean one cause upstream: a changed source, unit, join or default.",
    ),
    Metric(
        "driftline_signal_shift_sd",
        "gauge",
        "reference standard deviations",
        ("model", "signal"),
        "Location (for categories: rank) of the current window against the reference, in reference "
        "standard deviations.",
        "A trend towards the tolerated limit announces an alert; compare with `detection.tolerance`.",
    ),
    Metric(
        "driftline_signal_missing_ratio",
        "gauge",
        "ratio 0-1",
        ("model", "signal"),
        "Share of the current window's events in which the signal is null or absent.",
        "A rise points to a broken join or a renamed field at the producer.",
    ),
    Metric(
        "driftline_psi",
        "gauge",
        "no unit",
        ("model", "signal"),
        "Population stability index of the last full window against the reference, over the "
        "reference's deciles (or categories).",
        "Below 0.1 little has changed, above 0.25 much; the usual limits mean nothing for small "
        "references, whose own noise is about 9 / rows.",
    ),
    Metric(
        "driftline_jensen_shannon_distance",
        "gauge",
        "0-1",
        ("model", "signal"),
        "Jensen-Shannon distance (base 2) of the last full window to the reference, over deciles "
        "or categories.",
        "The same picture as PSI, but bounded: 1 means that nothing is in common.",
    ),
    Metric(
        "driftline_hellinger_distance",
        "gauge",
        "0-1",
        ("model", "signal"),
        "Hellinger distance of the last full window to the reference, over deciles or categories.",
        "Read it like the Jensen-Shannon distance.",
    ),
    Metric(
        "driftline_l_infinity_distance",
        "gauge",
        "0-1",
        ("model", "signal"),
        "Largest change of the share of one decile or category in the last full window.",
        "The report of the window says which one it is.",
    ),
    Metric(
        "driftline_ks_distance",
        "gauge",
        "0-1",
        ("model", "signal"),
        "Kolmogorov-Smirnov distance of the last full window to the reference, over percentiles; "
        "numeric signals only.",
        "Its p-value, corrected for sample size and dependence, is in the report of the window.",
    ),
    Metric(
        "driftline_wasserstein_distance",
        "gauge",
        "reference standard deviations",
        ("model", "signal"),
        "Wasserstein (earth mover's) distance of the last full window to the reference, divided "
        "by its standard deviation; numeric signals only, values beyond the reference's range "
        "count as its ends.",
        "A shift of one standard deviation is 1; compare with `driftline_signal_shift_sd`, which "
        "knows direction.",
    ),
    Metric(
        "driftline_chi_squared",
        "gauge",
        "no unit",
        ("model", "signal"),
        "Chi-squared statistic of the last full window against the reference, over deciles or categories.",
        "It grows with the window; its p-value is in the report of the window.",
    ),
    # --- labels and performance ---------------------------------------------------------------------------
    Metric(
        "driftline_labels_joined_total",
        "counter",
        "labels",
        ("model",),
        "Labels that met their prediction, or brought it along.",
        "Flat while labels come in: ids differ between the two topics, see "
        "`driftline_labels_orphaned_total`.",
    ),
    Metric(
        "driftline_labels_orphaned_total",
        "counter",
        "labels",
        ("model",),
        "Labels dropped because no event with their id came within `detection.labels.max_delay_hours` "
        "or `max_pending`.",
        "Compare the ids on both topics; raise `max_pending` if labels come late.",
    ),
    Metric(
        "driftline_labels_duplicate_total",
        "counter",
        "labels",
        ("model",),
        "Labels that repeat the first one of their event; they change nothing.",
        "Harmless; a producer sends twice.",
    ),
    Metric(
        "driftline_labels_conflicting_total",
        "counter",
        "labels",
        ("model",),
        "Labels that contradict the first one of their event; the first counts.",
        "Send a label only when it is final.",
    ),
    Metric(
        "driftline_predictions_expired_total",
        "counter",
        "predictions",
        ("model",),
        "Predictions dropped without a label, because of `detection.labels.max_delay_hours` or "
        "`max_pending`.",
        "Normal where not every event gets a label. If labels come later than that, raise the two, or "
        "lower `sample`.",
    ),
    Metric(
        "driftline_predictions_without_id_total",
        "counter",
        "events",
        ("model",),
        "Events without an id: no label can find them.",
        "Send an id with each event that may get a label.",
    ),
    Metric(
        "driftline_predictions_pending",
        "gauge",
        "predictions",
        ("model",),
        "Predictions that wait for a label.",
        "At `detection.labels.max_pending` the oldest are dropped: raise it, or lower `sample`.",
    ),
    Metric(
        "driftline_label_coverage_ratio",
        "gauge",
        "0-1",
        ("model",),
        "Share of the predictions so far that have a label.",
        "A fall means that labels stopped coming, or came for some kinds of events only.",
    ),
    Metric(
        "driftline_label_delay_seconds",
        "gauge",
        "seconds",
        ("model", "quantile"),
        "Quantiles of the time from an event's record to its label's record, exact to a factor of 1.41 "
        "upwards.",
        "It is how old the news is that performance tells.",
    ),
    Metric(
        "driftline_performance_accuracy",
        "gauge",
        "0-1",
        ("model",),
        "Share of labelled events whose class was predicted; last complete window of labelled events.",
        "Compare with what the model had in validation; `driftline_alert_active` with the signal "
        "`performance.error_rate` says when it fell.",
    ),
    Metric(
        "driftline_performance_precision",
        "gauge",
        "0-1",
        ("model",),
        "Of the events predicted positive, the share that is; of several classes the mean over them; "
        "last complete window of labelled events.",
        "Compare with what the model had in validation, and with its own course.",
    ),
    Metric(
        "driftline_performance_recall",
        "gauge",
        "0-1",
        ("model",),
        "Of the positive events, the share predicted so; of several classes the mean over them; last "
        "complete window of labelled events.",
        "Compare with what the model had in validation, and with its own course.",
    ),
    Metric(
        "driftline_performance_f1",
        "gauge",
        "0-1",
        ("model",),
        "Harmonic mean of precision and recall; of several classes the mean over them; last complete "
        "window of labelled events.",
        "Compare with what the model had in validation, and with its own course.",
    ),
    Metric(
        "driftline_performance_auc",
        "gauge",
        "0-1",
        ("model",),
        "Area under the ROC curve of the scores of a binary model, exact within the window; last "
        "complete window of labelled events.",
        "Compare with what the model had in validation, and with its own course.",
    ),
    Metric(
        "driftline_performance_log_loss",
        "gauge",
        "nats",
        ("model",),
        "Mean log loss of the scores of a binary model, where they are probabilities; last complete "
        "window of labelled events.",
        "Compare with what the model had in validation, and with its own course.",
    ),
    Metric(
        "driftline_performance_brier",
        "gauge",
        "0-1",
        ("model",),
        "Mean squared difference between probability and outcome (Brier score) of a binary model; last "
        "complete window of labelled events.",
        "Compare with what the model had in validation, and with its own course.",
    ),
    Metric(
        "driftline_performance_calibration_error",
        "gauge",
        "0-1",
        ("model",),
        "Expected calibration error over ten bins of equal width of a binary model; last complete "
        "window of labelled events.",
        "Compare with what the model had in validation, and with its own course.",
    ),
    Metric(
        "driftline_performance_mae",
        "gauge",
        "units of the label",
        ("model",),
        "Mean absolute error of a regression; last complete window of labelled events.",
        "Compare with what the model had in validation, and with its own course.",
    ),
    Metric(
        "driftline_performance_rmse",
        "gauge",
        "units of the label",
        ("model",),
        "Root mean squared error of a regression; last complete window of labelled events.",
        "Compare with what the model had in validation, and with its own course.",
    ),
    Metric(
        "driftline_performance_bias",
        "gauge",
        "units of the label",
        ("model",),
        "Mean of prediction minus label of a regression; last complete window of labelled events.",
        "Away from 0: the model is off to one side, a calibration may be enough.",
    ),
    Metric(
        "driftline_performance_r2",
        "gauge",
        "at most 1",
        ("model",),
        "Coefficient of determination of a regression; last complete window of labelled events.",
        "Compare with what the model had in validation, and with its own course.",
    ),
    Metric(
        "driftline_performance_window_end_timestamp_seconds",
        "gauge",
        "seconds since the epoch",
        ("model",),
        "Latest event time in the last complete window of labelled events.",
        "Old: labels have stopped, or come seldom.",
    ),
    # --- models -----------------------------------------------------------------------------------------
    Metric(
        "driftline_models",
        "gauge",
        "models",
        ("state",),
        "Models of this worker by state: queued, learning, warming or active.",
        "`queued` above 0 for long: more models learn at once than `detection.learning_models_max`; raise "
        "it or "
        "promote baselines.",
    ),
    Metric(
        "driftline_model_state",
        "gauge",
        "1 for the current state",
        ("model", "state"),
        "The state a model is in; only an active one can alert.",
        "`learning` for long: fewer events than `detection.learning_rows`; lower it or promote a baseline.",
    ),
    Metric(
        "driftline_last_event_timestamp_seconds",
        "gauge",
        "Unix time",
        ("model",),
        "Event time of the newest row applied. `time() - this` is how far behind the model's picture is.",
        "If it stands still: has the producer stopped, or does `driftline_mailbox_lag_records` grow?",
    ),
    Metric(
        "driftline_model_rows_total",
        "counter",
        "rows",
        ("model",),
        "Rows applied to the model since its state began; survives restarts.",
        "A rate far from the usual one also changes how long detection takes.",
    ),
    Metric(
        "driftline_episodes_opened_total",
        "counter",
        "episodes",
        ("model",),
        "Episodes opened since the model's state began.",
        "More a week than `false_alarms_per_week` without a real change: see docs/decisions.md on "
        "dependent data.",
    ),
    Metric(
        "driftline_episodes_resolved_total",
        "counter",
        "episodes",
        ("model",),
        "Episodes that ended. Opened minus resolved is the number open.",
        "An episode that never ends mostly means that the reference is out of date: promote a new baseline.",
    ),
    Metric(
        "driftline_suspicions_dismissed_total",
        "counter",
        "suspicions",
        ("model",),
        "Alarms of ADWIN or Page-Hinkley that the e-detector did not confirm, and that therefore made no "
        "alert.",
        "None: they show that the confirmation works. A sudden rise can precede an alert.",
    ),
    Metric(
        "driftline_type_mismatches_total",
        "counter",
        "cells",
        ("model",),
        "Cells of another type than in the reference, such as text in a numeric feature.",
        "A producer changed a type: correct it there, or promote a baseline built from the new data.",
    ),
    Metric(
        "driftline_later_features",
        "gauge",
        "features",
        ("model",),
        "Features that are watched although they appeared after the reference was frozen; each was learned "
        "from its first rows.",
        "Promote a baseline that has them: until then they share a tenth of the budget of false alarms.",
    ),
    Metric(
        "driftline_plugin_alarms_total",
        "counter",
        "alarms",
        ("model",),
        "Alarms of river's detectors that `models.NAME.signals` names; without `opens` they open nothing.",
        "Nothing is known of how many are false. They stand in the alerts of their signal, as evidence.",
    ),
    Metric(
        "driftline_model_version_changes_total",
        "counter",
        "take-overs",
        ("model",),
        "Times that another `model_version` took over: more than three quarters of the events carried it.",
        "`on_new_version` says what becomes of the reference ([versions](versions.md)).",
    ),
    Metric(
        "driftline_actions_total",
        "counter",
        "actions",
        ("model",),
        "Requests for a retraining on the actions topic; none without rules under `actions`.",
        "`driftline actions tail` shows the reasons, [actions](actions.md) what a consumer does with them.",
    ),
    Metric(
        "driftline_alerts_emitted_total",
        "counter",
        "alert events",
        ("state", "severity"),
        "Alert events made visible on the alerts topic by this worker; state is opened, updated or resolved.",
        "Compare with what the receiver got: it must read committed.",
    ),
    # --- ingest -----------------------------------------------------------------------------------------
    Metric(
        "driftline_events_accepted_total",
        "counter",
        "rows",
        ("topic",),
        "Rows decoded, validated and packed into envelopes.",
        "Zero although the topic has traffic: see events rejected and filtered, and the input lag.",
    ),
    Metric(
        "driftline_events_rejected_total",
        "counter",
        "rows",
        ("topic", "code"),
        "Rows that were not accepted, by reason code; each is on the rejects topic with its origin.",
        "Read docs/events.md for the code; `model_unknown` mostly means that the model is not listed "
        "under `models`.",
    ),
    Metric(
        "driftline_events_filtered_total",
        "counter",
        "rows",
        ("topic",),
        "Records left out on purpose: null values.",
        "None, if the producer writes tombstones.",
    ),
    Metric(
        "driftline_events_lost_total",
        "counter",
        "rows",
        ("topic",),
        "Rows that retention deleted before they were read, accepted with `ingest.accept_gap`.",
        "Raise the retention of the topic or add ingest workers; the models saw a gap.",
    ),
    Metric(
        "driftline_input_lag_records",
        "gauge",
        "records",
        ("topic", "partition"),
        "Records of a raw partition not yet read by this worker.",
        "If it grows: add ingest workers, up to the number of raw partitions.",
    ),
    Metric(
        "driftline_input_retention_seconds",
        "gauge",
        "seconds",
        ("topic",),
        "retention.ms of a raw topic as it was when the worker started. Absent when the topic deletes "
        "nothing by age or this user may not see its settings.",
        "Keep it longer than the longest time for which nobody may look after the workers: a weekend.",
    ),
    Metric(
        "driftline_input_retention_headroom_seconds",
        "gauge",
        "seconds",
        ("topic", "partition"),
        "Time until retention may delete rows of a raw partition that were not read yet; the whole retention "
        "when all were read. Absent when driftline_input_retention_seconds is, or nothing was read yet.",
        "At 0 rows are lost and the worker stops with exit code 77: raise the topic's retention.ms first, "
        "then see why ingest is behind (`driftline_input_lag_records`).",
    ),
    Metric(
        "driftline_envelopes_sent_total",
        "counter",
        "envelopes",
        (),
        "Envelopes acknowledged by the mailbox topic, empty ones included.",
        "No growth for longer than `ingest.flush_interval_seconds`: ingest is stuck; see its log.",
    ),
    Metric(
        "driftline_flush_duration_seconds",
        "histogram",
        "seconds",
        (),
        "From the first record of a flush to the acknowledgement of its last envelope.",
        "Seconds mean slow brokers (acks=all) or a starved CPU.",
    ),
    # --- detect -----------------------------------------------------------------------------------------
    Metric(
        "driftline_envelopes_applied_total",
        "counter",
        "envelopes",
        ("partition",),
        "Envelopes of a mailbox partition applied to its models.",
        "Still while the mailbox lag grows: the worker is stuck and its watchdog will end it.",
    ),
    Metric(
        "driftline_rows_applied_total",
        "counter",
        "rows",
        ("partition",),
        "Rows of a mailbox partition applied to its models by this worker.",
        "Compare with events accepted: the difference is on its way.",
    ),
    Metric(
        "driftline_mailbox_lag_records",
        "gauge",
        "records",
        ("partition",),
        "Envelopes of a mailbox partition not yet applied.",
        "If it grows: add detect workers, up to `topics.mailbox_partitions`.",
    ),
    Metric(
        "driftline_mailbox_retention_seconds",
        "gauge",
        "seconds",
        (),
        "retention.ms of the mailbox topic as it was when the worker started.",
        "It is made from `topics.mailbox_retention_hours`; `driftline topics check` compares the two.",
    ),
    Metric(
        "driftline_mailbox_retention_headroom_seconds",
        "gauge",
        "seconds",
        ("partition",),
        "Time until retention may delete envelopes of a mailbox partition that were not applied yet; the "
        "whole retention when all were applied.",
        "At 0 the state cannot go on and the worker stops with exit code 72: raise the mailbox's "
        "retention.ms first, then see why detection is behind (`driftline_mailbox_lag_records`).",
    ),
    Metric(
        "driftline_checkpoint_last_timestamp_seconds",
        "gauge",
        "Unix time",
        ("partition",),
        "When state, alerts and position of a mailbox partition were last made visible together.",
        "Older than a few `checkpoint.interval_seconds` while rows arrive: the transaction hangs; look at "
        "the brokers.",
    ),
    Metric(
        "driftline_checkpoint_duration_seconds",
        "histogram",
        "seconds",
        (),
        "From the barrier to the committed transaction.",
        "Near `checkpoint.transaction_timeout_seconds`: fewer models a partition, or faster brokers.",
    ),
    Metric(
        "driftline_checkpoint_bytes_total",
        "counter",
        "bytes",
        (),
        "State written by checkpoints, before the broker's own compression.",
        "A higher rate than the network likes: raise `checkpoint.interval_seconds`.",
    ),
    Metric(
        "driftline_recovery_duration_seconds",
        "gauge",
        "seconds",
        ("partition",),
        "How long the last take-over of a mailbox partition took: fence, restore, seek.",
        "Near `checkpoint.take_over_timeout_seconds`: compact the state topic sooner or raise the deadline.",
    ),
    Metric(
        "driftline_recovery_bytes",
        "gauge",
        "bytes",
        ("partition",),
        "Bytes read from the state topic by the last take-over of a mailbox partition.",
        "Much more than the live state: compaction is behind; check `segment.ms` of the state topic.",
    ),
    # --- notify -----------------------------------------------------------------------------------------
    Metric(
        "driftline_notifications_delivered_total",
        "counter",
        "alerts",
        ("target",),
        "Alerts that a target has taken (a status of 2xx); of `driftline notify`.",
        "Alerts open and this stands still: look at the failures and at `notify.routes`.",
    ),
    Metric(
        "driftline_notification_failures_total",
        "counter",
        "attempts",
        ("target", "reason"),
        "Attempts that failed. Reasons: connection, timeout, tls, server, too_many, credentials, not_found; "
        "refused and redirect are about one alert, which is given up after some attempts.",
        "The log has status and answer; `driftline notify --check` tries a target at once.",
    ),
    Metric(
        "driftline_notification_failed_attempts",
        "gauge",
        "attempts",
        ("target",),
        "Failed attempts in a row at the alert that a target is to be told of now; 0 once one arrives.",
        "The target is away, or its URL or password is wrong; its alerts wait and nothing is lost meanwhile.",
    ),
    Metric(
        "driftline_notifications_given_up_total",
        "counter",
        "alerts",
        ("target", "reason"),
        "Alerts that a target refused several times and is not told of any more.",
        "The log names the alert and the target's answer; `driftline alerts show ID` has its text.",
    ),
    Metric(
        "driftline_notifications_skipped_total",
        "counter",
        "alerts",
        ("target", "reason"),
        "Alerts that a target is not told of. Reasons: route (not its models or severity), muted, duplicate, "
        "expired (older than `max_age_hours`), malformed.",
        "expired: the target was away for longer than `notify.targets.NAME.max_age_hours`. malformed: "
        "something else writes to the alerts topic.",
    ),
    Metric(
        "driftline_notification_lag_records",
        "gauge",
        "records",
        ("target", "partition"),
        "Alerts of a partition that a target was not yet told of.",
        "Grows while the target is away; afterwards it falls by itself.",
    ),
    Metric(
        "driftline_notifications_open",
        "gauge",
        "alerts",
        ("target",),
        "Open alerts that an Alertmanager is reminded of, by the process that does it.",
        "Far from the sum of `driftline_signals_firing`: routes or mutes keep the others away.",
    ),
    # --- the process ------------------------------------------------------------------------------------
    Metric(
        "driftline_build_info",
        "gauge",
        "1",
        ("version", "python"),
        "Version of Driftline and of Python.",
        "Two versions for long: a rolling update did not finish.",
    ),
    Metric(
        "driftline_ready",
        "gauge",
        "1 when ready",
        (),
        "1 when the kernels are compiled and all assigned partitions are recovered; the same as /ready.",
        "0 for more than a minute: see the log for what it waits for.",
    ),
    Metric(
        "driftline_series_dropped",
        "gauge",
        "series",
        (),
        "Series left out of the last scrape because of `http.series_max` or "
        "`http.signal_series_per_model_max`.",
        "Raise the cap, or read the alerts topic: it has every signal.",
    ),
    Metric(
        "driftline_scrape_duration_seconds",
        "gauge",
        "seconds",
        (),
        "Time the last rendering of this page took.",
        "Above a second: lower `http.series_max`.",
    ),
    Metric(
        "driftline_scrape_errors_total",
        "counter",
        "errors",
        (),
        "Renderings that failed; the scrape got status 500.",
        "A bug of Driftline: report it with the log line.",
    ),
)
BY_NAME: Final[dict[str, Metric]] = {metric.name: metric for metric in CATALOGUE}

HEADER: Final = """# Metrics

Generated from `service/driftline/publish/catalogue.py` by `python -m driftline.publish.catalogue >
docs/metrics.md`; do not edit. Served at `/metrics` of every worker (`http.host`, `http.port`, 127.0.0.1:9464
by default).

Series with a `model` or `signal` label are capped: `http.series_max` in all,
`http.signal_series_per_model_max` signals a model. Open episodes come first, then the models' own series,
then the signals that moved most; a signal once shown stays for an hour as long as the cap allows.
`driftline_series_dropped` counts what was left out. A model is shown by the worker that owns it: use `sum
without (instance)` or `max without (instance)` over several workers. The usual `process_*` metrics (memory,
CPU time, file descriptors) are there too.
"""


def markdown() -> str:
    """The page ``docs/metrics.md``."""
    lines = [HEADER]
    for metric in CATALOGUE:
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
        lines.append(f"## `{metric.name}`\n")
        lines.append(f"{metric.kind.capitalize()}; {metric.unit}; labels: {labels}.\n")
        lines.append(f"{metric.meaning}\n")
        lines.append(f"*What to do:* {metric.remedy}\n")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(markdown())
