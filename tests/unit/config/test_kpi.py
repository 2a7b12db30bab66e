"""KPIs in the configuration: how a measure is written, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from driftline.config import load_settings
from driftline.config.kpi import MEASURES, Origin, parse_measure
from driftline.errors import OperatorError

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("accuracy", ("accuracy", Origin.LABELLED, "", "", 0.0)),
        ("recall.fraud", ("recall", Origin.LABELLED, "", "fraud", 0.0)),
        ("recall", ("recall", Origin.LABELLED, "", "", 0.0)),
        ("psi.sepal length (cm)", ("psi", Origin.WINDOWS, "sepal length (cm)", "", 0.0)),
        ("share.country.DE", ("share", Origin.EVENTS, "country", "DE", 0.0)),
        ("share.prediction.class.deny", ("share", Origin.EVENTS, "prediction.class", "deny", 0.0)),
        ("share.payload.size=1.5", ("share", Origin.EVENTS, "payload.size", "1.5", 0.0)),
        ("label_delay.p90", ("label_delay", Origin.LABELS, "", "", 0.9)),
    ],
)
def test_a_measure_has_parts(text: str, parts: tuple[str, Origin, str, str, float]) -> None:
    """The name, and of what: a signal, a class, a category, a quantile."""
    found = parse_measure(text)
    assert (found.name, found.origin, found.signal, found.member, found.share) == parts


@pytest.mark.parametrize(
    ("kpi", "words"),
    [
        ("{measure: recal.fraud, min: 0.8}", "no measure 'recal.fraud', did you mean recall.fraud?"),
        ("{measure: psi, max: 0.2}", "psi needs to know of what: write psi.SIGNAL"),
        ("{measure: accuracy.fraud, min: 0.8}", "accuracy is of the whole model"),
        ("{measure: share.country, max: 0.2}", "names no category"),
        ("{measure: label_delay.median, max: 9}", "write the quantile as label_delay.p50"),
        ("{measure: accuracy}", "accuracy has no bound: set min, max or both"),
        ("{measure: accuracy, min: 0.9, max: 0.8}", "nothing lies between"),
        ("{measure: accuracy, min: 0.8, max: 0.9, hysteresis: 0.1}", "nothing lies between"),
        ("{measure: psi.age, max: 0.2, window: 1h}", "leave out window"),
        ("{measure: auc, min: 0.8, window: 1h}", "detection.labels.window_rows: leave out window"),
        ("{measure: events_per_minute, min: 1, window: 100}", "set window, such as 1h"),
        ("{measure: sum.amount, min: 1}", "set window, such as 1h"),
        ("{measure: accuracy, min: 0.8, window: 1 hour}", "neither a number nor a time: write 1000, or 90m"),
        ("{measure: accuracy, min: 0.8, for: 0}", "0 is not between 1 and"),
        ("{measure: accuracy, minimum: 0.8}", "unknown key, did you mean 'min'?"),
        ("{measure: accuracy, min: 0.8, fro: 3}", "unknown key, did you mean 'for'?"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, kpi: str, words: str) -> None:
    """At start, with the key and the nearest known word."""
    path = tmp_path / "driftline.yaml"
    path.write_text(f"models: {{m: {{kpis: {{agreed: {kpi}}}}}}}", encoding="utf-8")
    with pytest.raises(OperatorError) as caught:
        load_settings(path)
    assert words in str(caught.value)
    assert "models.m.kpis.agreed" in str(caught.value)


def test_a_model_has_the_defaults_and_its_own() -> None:
    """By name; its own win, and null drops one."""
    settings = load_settings(
        None,
        detection={"kpis": {"a": {"measure": "accuracy", "min": 0.5}, "b": {"measure": "f1", "min": 0.5}}},
        models={"m": {"kpis": {"a": {"measure": "accuracy", "min": 0.9}, "b": None}}, "n": {}},
    )
    found = {m: settings.detection.kpis_of(own) for m, own in settings.models.items()}
    assert {m: {name: kpi.min for name, kpi in kpis.items()} for m, kpis in found.items()} == {
        "m": {"a": 0.9},
        "n": {"a": 0.5, "b": 0.5},
    }


def test_a_changed_bound_is_another_revision() -> None:
    """Workers must not decide under different bounds without a word."""
    revisions = {
        load_settings(None, models={"m": {"kpis": {"a": {"measure": "accuracy", "min": low}}}}).revision()
        for low in (0.5, 0.6)
    }
    assert len(revisions) == 2


def test_a_kpi_of_labels_without_labels_is_said() -> None:
    """It is no error: files may bring labels that the configuration does not name."""
    kpis = {"good": {"measure": "accuracy", "min": 0.5}, "few": {"measure": "missing.x", "max": 0.5}}
    inputs = [{"topic": "e"}]
    without = load_settings(None, models={"m": {"kpis": kpis}}, inputs=inputs).warnings()
    assert [w for w in without if "kpi" in w] == [
        "kpi good: needs labels, and no input is of kind labels: it stays unknown."
    ]
    inputs.append({"topic": "l", "kind": "labels"})
    assert not [
        w for w in load_settings(None, models={"m": {"kpis": kpis}}, inputs=inputs).warnings() if "kpi" in w
    ]


def test_every_measure_is_on_the_page() -> None:
    """docs/kpis.md has a row for each measure, as it is written."""
    page = (ROOT / "docs" / "kpis.md").read_text(encoding="utf-8")
    for name, (_, wanted) in MEASURES.items():
        written = f"{name}.{wanted}" if wanted and wanted[0] != "[" else name + wanted.replace("[", "[.")
        assert f"`{written}`" in page, name
