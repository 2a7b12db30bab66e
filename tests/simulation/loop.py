"""Virtual time and processes: an event loop that jumps to the next timer, and tasks that can be killed.

Owns: the clock, and which process a callback belongs to (a context variable that tasks inherit). A killed
process runs nothing any more, not even a finally-block; a paused one runs its callbacks when it is woken.
Invariant: with one seed, one order of events. Knows no Kafka and none of the product.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import heapq
import random
import warnings
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from driftline.errors import ExitCode, FatalError

PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class ProcessEnded(BaseException):
    """Raised where a process ends itself, in the place of ``os._exit``; nothing may catch it."""


class Process:
    """One worker process: running, paused or ended.

    Args:
        name: for the trace.
        loop: where its tasks run.
    """

    def __init__(self, name: str, loop: VirtualLoop) -> None:
        self.name = name
        self.alive = True
        self.paused = False
        self.error: FatalError | None = None
        self.crash_in: int | None = None  # callbacks until it is killed
        self.pause_in: tuple[int, Callable[[], None]] | None = None  # callbacks until something pauses it
        self._loop = loop
        self._backlog: deque[asyncio.Handle] = deque()
        self.on_end: Callable[[], None] = lambda: None

    @property
    def running(self) -> bool:
        """Neither ended nor paused."""
        return self.alive and not self.paused

    def admit(self, handle: asyncio.Handle) -> bool:
        """Whether a callback may run now; each one is a task going on behind an await."""
        if not self.alive:
            return False
        if self.pause_in is not None and not self.paused:
            steps, pause = self.pause_in
            self.pause_in = (steps - 1, pause) if steps > 1 else None
            if steps <= 1:
                pause()
        if self.paused:
            self._backlog.append(handle)
            return False
        if self.crash_in is not None:
            self.crash_in -= 1
            if self.crash_in <= 0:
                self.kill()
                return False
        return True

    def kill(self) -> None:
        """Kill -9."""
        if self.alive:
            self.alive = False
            self._backlog.clear()
            self.on_end()

    def exit(self, error: FatalError) -> None:
        """End with an exit code; does not return when the process itself calls it."""
        if self.alive:
            self.error = error
            self.kill()
        if PROCESS.get() is self:
            raise ProcessEnded

    def pause(self) -> None:
        """SIGSTOP."""
        self.paused = True

    def wake(self) -> None:
        """SIGCONT: everything that came meanwhile runs, in its order."""
        self.paused = False
        if self.alive:
            self._loop.resume(self._backlog)
        self._backlog = deque()

    def start(self, main: Coroutine[Any, Any, None]) -> None:
        """Run the process's main task; all tasks made in it belong to it."""
        context = contextvars.copy_context()
        context.run(PROCESS.set, self)
        self._loop.create_task(main, context=context)


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop whose time passes only when there is nothing else to do.

    Args:
        dice: decides how long work in an executor takes.
    """

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self._now = 0.0
        self._dice = dice
        self._tasks: list[asyncio.Task[Any]] = []
        self.steps = 0
        self.failures: list[str] = []
        self.set_task_factory(self._make_task)
        self.set_exception_handler(lambda loop, context: None)  # dead tasks have unread exceptions

    def time(self) -> float:
        """Virtual seconds."""
        return self._now

    def _make_task(self, loop: Any, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **options)
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        self._tasks.append(task)
        if len(self._tasks) > 2_000:
            self._tasks = [t for t in self._tasks if not t.done()]
        return task

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """Calls the function a little later, so that the loop has gone on meanwhile, as a thread would."""
        future = self.create_future()

        def work() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except Exception as error:  # noqa: BLE001 - the caller gets it, as from a thread
                future.set_exception(error)

        self.call_later(self._dice.uniform(0.0, 0.05), work)
        return future

    def outside(self, delay: float, action: Callable[[], None]) -> None:
        """Something that no process does: the broker, the network, time."""
        self.call_later(delay, action, context=contextvars.Context())

    def resume(self, handles: deque[asyncio.Handle]) -> None:
        """Callbacks of a process that was woken."""
        self._ready.extend(handles)  # type: ignore[attr-defined]

    def _process_events(self, event_list: Any) -> None:
        """There are no sockets."""

    def _write_to_self(self) -> None:
        """Nothing ever waits in a select."""

    def _run_once(self) -> None:
        ready: deque[asyncio.Handle] = self._ready  # type: ignore[attr-defined]
        scheduled: list[Any] = self._scheduled  # type: ignore[attr-defined]
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)
        if not ready:
            if not scheduled:
                raise RuntimeError("nothing is left to happen")
            self._now = max(self._now, scheduled[0]._when)
        while scheduled and scheduled[0]._when <= self._now:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            if not handle._cancelled:
                ready.append(handle)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process: Process | None = handle._context.get(PROCESS)  # type: ignore[attr-defined]
            if process is None or process.admit(handle):
                self.steps += 1
                handle._run()
                if self._stopping:  # type: ignore[attr-defined]
                    return

    def dispose(self) -> None:
        """End what is left. Its finally-blocks run now, when everything was judged already."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # what these blocks would await is never awaited
            for task in self._tasks:
                _close(task.get_coro())
        self._ready.clear()  # type: ignore[attr-defined]
        self._scheduled.clear()  # type: ignore[attr-defined]
        self._tasks.clear()
        with contextlib.suppress(Exception):
            self.close()


def _close(coro: Any) -> None:
    for _ in range(20):  # a finally-block that awaits wants to be closed again
        try:
            coro.close()
        except BaseException:  # noqa: BLE001, S112 - whatever a dead process would still say
            continue
        return


def unexpected(error: BaseException) -> FatalError:
    """What ``app`` makes of an error that no one foresaw."""
    return FatalError(ExitCode.STALLED, f"{type(error).__name__}: {error}.")
