"""The attacks of ``make security-test`` as a test: the short form, with one bomb and without the rotation."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from security.run import Run


# aiokafka leaves the sockets of logins that were refused to the garbage collector, which says so.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.kafka
def test_nothing_is_let_in(tmp_path: Path) -> None:
    """A shut broker, the product on it, and every attack; then an open broker, which lets all of them in."""
    run = Run(tmp_path, short=True)
    asyncio.run(run.secured())
    asyncio.run(run.control())
    assert run.faults == []
    assert [attempt for attempt in run.attempts if attempt.let_in] == []
    assert len(run.attempts) > 400
    assert run.control_tried > 300
