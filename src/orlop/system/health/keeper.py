"""Whether the machine works: looked at when somebody asks, from time to time, and after an update.

The checks of PID 1's own containers are made here. Whatever goes into the network, or is about
containers of the user's engine, is a worker's: names, TLS and answers are nobody's to trust.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.lib.errors import Internal, NotFound, OrlopError
from orlop.system.config.configuration import as_list, as_map, ask
from orlop.system.health import builtin
from orlop.system.health.plan import Found, Report, Status, Verdict, judge, settings
from orlop.system.services import files
from orlop.system.services.state import ServiceState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.system.boot import Boot
    from orlop.system.health.builtin import Baseline
    from orlop.system.health.plan import Check, Settings
    from orlop.wire.compose_model import Json

log = logging.getLogger(__name__)

STATE_DIRECTORY = "/var/lib/orlop"
USER_SOCKET = f"{files.USER_API_DIRECTORY}/docker.sock"
ENGINE = "engine"
AT_ONCE = 8
"""Programs in containers of the system at a time."""
SLACK_S = 10.0
"""For the worker's own start."""
WORKER_THREADS = 16
TRIAL_PAUSE_S = 2.0
ENGINE_START_S = 60.0
"""So long an engine may take until it answers."""
ON_GOOD, ON_BAD = "org.orlop.on-good", "org.orlop.on-bad"
"""Labels of services that are started when the machine becomes green, or red."""


class Health:
    """For the machine of *boot*."""

    def __init__(self, boot: Boot, directory: str = STATE_DIRECTORY) -> None:
        self._boot = boot
        self._directory = directory
        self._lock = asyncio.Lock()
        self._seen = builtin.Baseline()
        self._begun_s = 0.0
        self.last: Report | None = None

    async def look(self) -> Report:
        """The machine's health now. Who asks while others wait for it has the same answer."""
        asked_s = time.monotonic()
        async with self._lock:
            if self.last is None or self._begun_s < asked_s:
                self._begun_s = time.monotonic()
                self._note(await self.evaluate())
            assert self.last is not None
            return self.last

    async def follow(self) -> None:
        """Look from time to time, until the machine goes down."""
        while self._boot.power.requested is None:
            try:
                async with self._lock:
                    self._note(await self.evaluate(write=False))
            except Exception:
                log.exception("the machine's health")  # the next look may tell
            await asyncio.sleep(settings(self._boot.config.current).interval_s)

    async def watch(
        self,
        settle_s: float | None = None,
        deadline_s: float | None = None,
        before: Baseline | None = None,
        more: Sequence[Check] = (),
    ) -> Report:
        """Whether the machine is good after an update: green or red, in bounded time.

        Green as soon as everything required has worked for *settle_s* without a break; red when
        something required has failed for as long without a break, or that has not come about
        within *deadline_s*. Both are the configuration's unless given. *before* is what the machine
        had before the update (`builtin.read_baseline`), and must have again; *more* are checks of
        the update's own.
        """
        wanted = settings(self._boot.config.current)
        settle_s = wanted.settle_s if settle_s is None else settle_s
        deadline_s = wanted.deadline_s if deadline_s is None else deadline_s
        clock = asyncio.get_running_loop().time
        start_s = good_s = bad_s = clock()
        while True:
            report = await self._evaluate_in_time(before, more, start_s + deadline_s - clock())
            self._note(report)
            now_s = clock()
            is_good = not any(f.required and f.status is not Status.OK for f in report.checks)
            good_s = good_s if is_good else now_s
            bad_s = bad_s if report.verdict is Verdict.RED else now_s
            if is_good and now_s - good_s >= settle_s:
                return Report(Verdict.GREEN, "ok", report.text, report.checks, report.at_s)
            if report.verdict is Verdict.RED and now_s - bad_s >= settle_s:
                return report
            if now_s - start_s >= deadline_s:
                text = report.text or f"has not worked for {settle_s:g} s without a break"
                text = f"not good within {deadline_s:g} s: {text}"
                return Report(Verdict.RED, "deadline", text, report.checks, report.at_s)
            await asyncio.sleep(max(0.0, min(TRIAL_PAUSE_S, start_s + deadline_s - now_s)))

    async def _evaluate_in_time(
        self, before: Baseline | None, more: Sequence[Check], left_s: float
    ) -> Report:
        """As `evaluate`; a check that takes beyond the deadline has failed."""
        try:
            async with asyncio.timeout(max(1.0, left_s)):
                return await self.evaluate(before, more)
        except TimeoutError:
            late = builtin.found("checks", Status.FAILED, "timeout", "no answer in time")
            return judge((late,), time.time())

    async def evaluate(
        self, before: Baseline | None = None, more: Sequence[Check] = (), *, write: bool = True
    ) -> Report:
        """All checks once. *before* and *more* as for `watch`; *write*: try whether disks can be
        written."""
        wanted = settings(self._boot.config.current)
        now = builtin.read_baseline()
        self._seen = self._seen.or_now(now)
        async with asyncio.TaskGroup() as group:
            ping = group.create_task(builtin.ping("engine", files.API_SOCKET))
            user = group.create_task(self._ping_user())
            disk = group.create_task(builtin.disk(self._directory, write=write))
            declared = group.create_task(self.run((*wanted.checks, *more), wanted.settle_s))
        found = [ping.result(), *user.result(), *self._services(wanted), disk.result()]
        state = self._boot.machine.state
        found += builtin.mirrored(state.device if state else "")
        up_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        required = before is not None
        found += builtin.compare(before or self._seen, now, required=required, up_s=up_s)
        return judge((*found, *declared.result()), time.time())

    async def run(self, checks: Sequence[Check], settle_s: float = 0.0) -> list[Found]:
        """The outcomes of *checks*: those of the system's containers first."""
        own = [check for check in checks if self._is_own(check)]
        other = [check for check in checks if check not in own]
        turns = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(self._ask_others(other, settle_s))
            tasks = [group.create_task(self._check_own(c, settle_s, turns)) for c in own]
        return [*(task.result() for task in tasks), *asked.result()]

    # The system's own.

    def _is_own(self, check: Check) -> bool:
        """Whether it is about a container of the system."""
        if check.kind not in ("state", "exec"):
            return False
        services = self._boot.services.names()
        return check.engine == "system" or (not check.engine and check.target in services)

    def _services(self, wanted: Settings) -> list[Found]:
        now_s = time.time()
        return [
            Found(
                f"service {status.name}",
                builtin.KIND,
                builtin.is_built_in(status),
                *builtin.judge_service(status, wanted.settle_s, now_s),
            )
            for status in self._boot.services.statuses()
        ]

    async def _ping_user(self) -> list[Found]:
        services = self._boot.services
        if ENGINE not in services.names():
            return []
        status = services.status(ENGINE)
        if status.state is not ServiceState.RUNNING:
            return []  # which is a check of its own
        found = await builtin.ping("user's engine", USER_SOCKET)
        if found.status is Status.FAILED and time.time() - status.started_s < ENGINE_START_S:
            found = replace(found, status=Status.WAITING, code="starting")
        return [found]

    async def _check_own(self, check: Check, settle_s: float, turns: asyncio.Semaphore) -> Found:
        try:
            if check.kind == "state":
                status = self._boot.services.status(check.target)
                outcome = builtin.judge_service(status, settle_s, time.time(), must_run=True)
            else:
                async with turns:
                    outcome = await self._exec(check)
        except NotFound:
            text = "there is no such service or container"
            outcome = (Status.FAILED, "missing", text)
        except (OrlopError, OSError) as error:
            outcome = (Status.FAILED, "exec", str(error))
        return Found(check.name, check.kind, check.required, *outcome)

    async def _exec(self, check: Check) -> tuple[Status, str, str]:
        from orlop.system.health.worker import said

        code, output = await self._boot.engine.exec_run(
            check.target, check.command, timeout_s=check.timeout_s
        )
        if code == 0:
            return Status.OK, "ok", ""
        return Status.FAILED, "status", said(code, output)

    # Others.

    async def _ask_others(self, checks: Sequence[Check], settle_s: float) -> list[Found]:
        """What is not about the system's containers; if the worker fails, all of it has."""
        outcomes: list[Json] = []
        if checks:
            try:
                outcomes = await self._ask_worker(checks, settle_s)
            except (OrlopError, OSError, ValueError) as error:
                outcomes = [["failed", "worker", str(error)]] * len(checks)
        return [
            Found(check.name, check.kind, check.required, *_outcome(outcome))
            for check, outcome in zip(checks, outcomes, strict=True)
        ]

    async def _ask_worker(self, checks: Sequence[Check], settle_s: float) -> list[Json]:
        """Outcomes as the worker gives them, one for each of *checks*.

        Raises:
            OrlopError, OSError, ValueError: it failed.
        """
        rounds = -(-len(checks) // WORKER_THREADS)
        limit_s = rounds * max(check.timeout_s for check in checks) + 1
        request: dict[str, Json] = {
            "checks": [
                {
                    "kind": check.kind,
                    "target": check.target,
                    "command": [*check.command],
                    "status": check.status,
                    "insecure": check.insecure,
                    "timeout_s": check.timeout_s,
                }
                for check in checks
            ],
            "limit_s": limit_s,
            "settle_s": settle_s,
            "socket": USER_SOCKET,
        }
        descriptor = os.memfd_create("health", os.MFD_CLOEXEC)
        try:
            os.pwrite(descriptor, json.dumps(request).encode(), 0)
            answer = await ask(self._boot.children, ["health"], limit_s + SLACK_S, {0: descriptor})
        finally:
            os.close(descriptor)
        data = as_map(json.loads(answer))
        _end_stuck(as_list(data.get("stuck")))
        found = as_list(data.get("found"))
        if len(found) != len(checks):
            raise Internal("the health worker has not answered everything")
        return found

    # What follows from it.

    def _note(self, report: Report) -> None:
        """Keep *report*, and say so if the verdict is another one than before."""
        before, self.last = self.last, report
        boot = self._boot
        boot.machine.health = report.summary()
        if before is not None and before.verdict is report.verdict:
            return
        level = logging.INFO if report.verdict is Verdict.GREEN else logging.WARNING
        log.log(level, "the machine is %s%s", report.verdict, report.text and f": {report.text}")
        attributes = {"name": boot.machine.hostname, "code": report.code, "text": report.text}
        action = f"health_status: {report.verdict}"
        boot.engine.events.publish("machine", action, "machine", attributes)
        boot.machine.channel.send("health", **report.summary())
        label = {Verdict.GREEN: ON_GOOD, Verdict.RED: ON_BAD}.get(report.verdict)
        if label and (before is not None or report.verdict is Verdict.RED):
            boot.tasks.start(self._start_labelled(label), "services for the machine's health")

    async def _start_labelled(self, label: str) -> None:
        services = self._boot.services
        for name in services.names():
            if dict(services.definition(name).labels).get(label, "").lower() == "true":
                try:
                    await services.start(name)
                except OrlopError as error:
                    log.warning("cannot start service %s: %s", name, error)


def _outcome(outcome: Json) -> tuple[Status, str, str]:
    status, code, text = [*map(str, as_list(outcome)), "", "", ""][:3]
    known = Status(status) if status in Status else Status.FAILED
    return known, code[:32], "".join(c for c in text if c.isprintable())[:300]


def _end_stuck(pids: Sequence[Json]) -> None:
    """Kill programs of checks that have not ended: only what is in a container of the user's."""
    for pid in pids:
        if not isinstance(pid, int) or pid <= 1:
            continue
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/cgroup", encoding="ascii", errors="replace") as stream:
                is_users = "\n0::/user/" in f"\n{stream.read(4096)}"
            if is_users:
                os.kill(pid, 9)
