"""One flush: decode what was fetched and pack it, one envelope a mailbox partition.

Pure, and run in a thread.

Owns: the decoders, and which block goes to which mailbox partition. Every flush has an envelope for every
mailbox partition, empty ones included, so that each always learns how far each raw partition has come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from driftline.config import Settings
from driftline.ingest import envelope
from driftline.ingest.chunks import COMMANDS, DecoderKey, Fetched, nulls_by_source
from driftline.ingest.decode import Decoder, make_decoder, mapping_of
from driftline.ingest.decode.command import decode_command
from driftline.publish import rejects
from driftline.records import Block, Command, Envelope, OutputRecord, Progress, RecordChunk, Reject, Source

HOUR_MS = 3_600_000


@dataclass(slots=True)
class Flush:
    """What goes out together. Counters are by topic."""

    progress: tuple[Progress, ...]
    envelopes: list[tuple[int, bytes]] = field(
        default_factory=list
    )  # mailbox partition, value; in sending order
    rejects: list[OutputRecord] = field(default_factory=list)
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)  # topic, code
    accepted: Counter[str] = field(default_factory=Counter)
    filtered: Counter[str] = field(default_factory=Counter)

    @property
    def commits(self) -> dict[Source, int]:
        """Offset to commit by raw partition: the next one to read."""
        return {p.source: p.hi + 1 for p in self.progress}


class Packer:
    """Turns what was fetched into flushes. For one thread at a time."""

    def __init__(self, settings: Settings, *, producer: str) -> None:
        self._producer = producer
        self._mailboxes = settings.topics.mailbox_partitions
        self._payload = settings.ingest.reject_payload
        hours = settings.ingest.max_event_age_hours
        self.keys: dict[str, DecoderKey] = {
            i.topic: DecoderKey(i.format, i.model, mapping_of(i)) for i in settings.inputs
        }
        self._decoders: dict[DecoderKey, Decoder] = {
            key: make_decoder(
                key.format,
                fixed_model=key.model,
                allowed_models=settings.allowed_models(),
                max_event_age_ms=None if hours is None else int(hours * HOUR_MS),
                mapping=key.mapping,
            )
            for key in set(self.keys.values())
        }
        self.keys[settings.topics.name(COMMANDS)] = DecoderKey(COMMANDS)

    def flush(self, fetched: Fetched, progress: Sequence[Progress]) -> Flush:
        """Decode and pack; ``progress`` has the entry of each of the fetched sources, in their order."""
        out = Flush(tuple(progress))
        blocks: list[Block] = []
        commands: list[Command] = []
        for key, chunk in fetched.chunks.items():
            if key.format == COMMANDS:
                self._commands(chunk, fetched, out, commands)
            else:
                blocks += self._decode(key, chunk, fetched, out)
        self._pack(out, blocks, commands)
        return out

    def _decode(self, key: DecoderKey, chunk: RecordChunk, fetched: Fetched, out: Flush) -> list[Block]:
        decoded = self._decoders[key].decode(chunk)
        nulls = nulls_by_source(chunk)
        for i, source in enumerate(chunk.sources):
            out.accepted[source.topic] += int(decoded.accepted_per_source[i])
            out.filtered[source.topic] += int(nulls[i])
        for reject in decoded.rejects:
            self._reject(reject, fetched, out)
        return decoded.blocks

    def _commands(self, chunk: RecordChunk, fetched: Fetched, out: Flush, commands: list[Command]) -> None:
        data = chunk.buf.tobytes()
        for row in range(len(chunk)):
            index = int(chunk.source[row])
            source = chunk.sources[index]
            start, end = int(chunk.starts[row]), int(chunk.ends[row])
            if start < 0:
                out.filtered[source.topic] += 1
                continue
            found = decode_command(
                data[start:end],
                source=source,
                source_index=index,
                offset=int(chunk.offsets[row]),
                timestamp=int(chunk.timestamps[row]),
            )
            if isinstance(found, Reject):
                self._reject(found, fetched, out)
            else:
                commands.append(found)
                out.accepted[source.topic] += 1

    def _reject(self, reject: Reject, fetched: Fetched, out: Flush) -> None:
        key, value = fetched.find(reject.source, reject.offset)
        out.rejects.append(rejects.encode(reject, key, value if self._payload else None))
        out.rejected[reject.source.topic, reject.code.value] += 1

    def _pack(self, out: Flush, blocks: Sequence[Block], commands: Sequence[Command]) -> None:
        by_mailbox: dict[int, tuple[list[Block], list[Command]]] = {
            p: ([], []) for p in range(self._mailboxes)
        }
        for block in blocks:
            by_mailbox[envelope.mailbox_partition(block.model, self._mailboxes)][0].append(block)
        for command in commands:
            by_mailbox[envelope.mailbox_partition(command.model, self._mailboxes)][1].append(command)
        for partition, (some_blocks, some_commands) in by_mailbox.items():
            whole = Envelope(self._producer, out.progress, tuple(some_blocks), tuple(some_commands))
            out.envelopes += [(partition, value) for value in pack_all(whole)]


def pack_all(whole: Envelope) -> list[bytes]:
    """The envelope, or its parts in order if it is too large for one record."""
    return [envelope.pack(part) for part in envelope.split(whole)]
