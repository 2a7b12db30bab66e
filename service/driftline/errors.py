"""Whose fault it is, and what to do next.

Every error that leaves the package is one of four kinds, by who can mend it: the message's producer, the
operator, ourselves, or the environment. Row-level problems are not exceptions: they are reason codes
(``RejectCode``), because a bad row must never stop a good one.
"""

from __future__ import annotations

from enum import IntEnum


class DriftlineError(Exception):
    """Base of all errors of the package; ``remedy`` says what to do next."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.message = message
        self.remedy = remedy


class MessageError(DriftlineError):
    """A record is not what its topic promises (an envelope with a wrong checksum, a snapshot cut short)."""


class NewerFormatError(MessageError):
    """A later version of Driftline wrote it: nothing is wrong with it, and nothing may be guessed."""

    def __init__(self, message: str) -> None:
        super().__init__(message, remedy="Run that version or a later one.")


class OperatorError(DriftlineError):
    """The operator can mend it: configuration, missing topics, permissions, a file that is not there."""


class BugError(DriftlineError):
    """A promise of our own code is broken; the process must stop before anything wrong is stored."""


class OutsideError(DriftlineError):
    """The environment failed: broker unreachable, disk full, fenced by another worker."""


class HoleError(BugError):
    """A mailbox or raw offset later than the next expected one: something between them was never applied."""


class ExitCode(IntEnum):
    """Exit codes of ``driftline run``: promises that could not be kept; a supervisor starts it again."""

    CONFIG = 64  # the operator has to change something first; restarting alone does not help
    TRANSACTION = 70  # a checkpoint failed or was late: state and memory may differ
    TAKE_OVER = 71  # fencing or restoring took longer than its deadline
    IDENTITY = 72  # log start, topic id or partition count do not fit the stored state
    STATE_MISSING = 73  # offsets are committed but the state topic has no position for them
    REBALANCING = 74  # the group did not settle within its deadline
    HOLE = 75  # a hole in the mailbox or in a raw partition
    APPLY = 76  # applying an envelope raised
    INGEST = 77  # stage 1 failed: a send, a commit outside a rebalance, an offset out of range
    STALLED = 78  # alive but idle: the event loop or the consumer made no progress


class FatalError(Exception):
    """Ends the process with ``code``: nothing may be applied or stored after it was raised."""

    def __init__(self, code: ExitCode, message: str, *, remedy: str = "") -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.code = code
