"""Labels of a mailbox partition joined exactly, and what a state says of them, as ``verify.Joined``; pure."""

from __future__ import annotations

from collections import Counter

from chaos.verify import Join, Joined
from driftline.decide.partition import MailboxPartition
from driftline.ingest.envelope import unpack
from driftline.records import ColumnKind, Source


class Joiner:
    """Labels of one mailbox partition, joined without the product's join: each raw offset counts once."""

    def __init__(self) -> None:
        self.models: dict[str, Join] = {}
        self._seen: set[tuple[Source, int]] = set()

    def envelope(self, value: bytes) -> None:
        """Join the rows of the next envelope; of one envelope the events go first."""
        found = unpack(value)
        for block in sorted(found.blocks, key=lambda block: block.is_labels):
            kind = ColumnKind.LABEL if block.is_labels else ColumnKind.CLASS
            at = next((i for i, column in enumerate(block.columns) if column.kind is kind), None)
            join = self.models.setdefault(block.model, Join())
            for row in range(len(block)):
                origin = (found.progress[int(block.source[row])].source, int(block.offset[row]))
                if at is None or origin in self._seen:
                    continue
                self._seen.add(origin)
                word = block.columns[at].strings[int(block.values[at, row])]
                (join.label if block.is_labels else join.event)(int(block.id_hash[row]), word)


def joins(partition: MailboxPartition) -> dict[str, Joined]:
    """What the state of a partition says of its models' labels."""
    found: dict[str, Joined] = {}
    for name, model in partition.models.items():
        if (own := model.labelled) is not None:
            view = own.view()
            repeats = Counter({"duplicates": view.duplicates, "conflicts": view.conflicts})
            found[name] = Joined(Counter(own.performance.totals(own.labels.names)), repeats)
    return found
