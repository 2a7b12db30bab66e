"""The part of docs/quality.md on errors of labelled events, made of its own measured counts."""

from __future__ import annotations

from typing import Final

from quality import report
from quality.contestants import STRICT
from quality.errors import DEFAULT_REFERENCE, ERRORS, REFERENCES, SOURCES
from quality.verdict import Row, verdicts

RESULTS: Final = report.RESULTS.with_name("results_errors.json")

HEAD: Final = """\

## Errors of labelled events

The signal `performance.error_rate` ([labels.md](labels.md)): 0 or 1 for classes, the rank of the absolute
error for numbers; increases only. Labels bring their predictions along, so that a row is a labelled event,
100 a second. Read as above, but for:

- The budget is {strict:g} false alarms a million labelled events for errors alone. Three numbers are of
  references of {references} labelled events (`detection.labels.reference_rows`).
- *Default settings*: errors are one of {sources} sources that share one false alarm a week; the reference
  of a change has {default} labelled events unless the name says otherwise.
- *Autocorrelation* of 0/1 errors: the chance that an error is the one before and not drawn anew. *+ .5 sd*:
  the mean absolute error grows by half a standard deviation of the reference's absolute errors.
- Errors that become fewer are no alarm: at most one in 20 may open.
- *The others* get each error as 0 or 1; those that watch 0/1 only have n/a on numbers, of which ADWIN gets
  the standardised absolute error.

### Verdict on errors

"""


def section(results: Row) -> str:
    """Explanation, verdict and table."""
    head = HEAD.format(
        strict=STRICT,
        references=f"{REFERENCES[0]:,}, {REFERENCES[1]:,} and {REFERENCES[2]:,}",
        sources=SOURCES,
        default=f"{DEFAULT_REFERENCE[0]:,}",
    )
    return head + "\n".join([*verdicts(results), "", *report.table(results, ERRORS), ""])


def page() -> str:
    """docs/quality.md, of the committed results of both parts."""
    return report.page(report.load()) + section(report.load(RESULTS))
