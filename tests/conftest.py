"""What every test may ask for: a broker, a prefix of its own for topics, and Hypothesis set up.

``kafka`` never skips: without a broker the tests that need one fail and say what to install.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import hypothesis
import pytest

from driftline.localkafka import LocalKafka, local_kafka

# No deadline: the first example of a compiled kernel includes its compilation. CI draws the same examples
# every time, so that a red build is about the change; people at a desk draw new ones, and see how to repeat.
hypothesis.settings.register_profile("quick", deadline=None, print_blob=True)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.register_profile("thorough", deadline=None, print_blob=True, max_examples=2_000)
hypothesis.settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "quick")
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test that gets a broker, so that ``-m 'not kafka'`` is a quick run."""
    for item in items:
        if "kafka" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.kafka)


@pytest.fixture(scope="session")
def kafka() -> Iterator[LocalKafka]:
    """One started broker for all tests; tests that kill or restart one start their own."""
    with local_kafka() as broker:
        yield broker


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for topics and groups that no other test has."""
    return f"t{uuid.uuid4().hex[:12]}"
