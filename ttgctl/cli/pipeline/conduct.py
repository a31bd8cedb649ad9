"""Carries a run through: events to log and view, then verdict, results, report, and removal."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType

from ttgctl.cli.options.flags import Monitor, Output
from ttgctl.cli.options.run_options import VerdictOptions
from ttgctl.cli.pipeline.web_monitor import WebMonitor, with_ui
from ttgctl.cli.status import say
from ttgctl.cli.streams import forget_stdout
from ttgctl.core.account.external_queues import ExternalQueues
from ttgctl.core.account.ledger import Ledger
from ttgctl.core.account.results_file import rows, write_results
from ttgctl.core.cleanup import remove
from ttgctl.core.inputs.parameters import ParameterSource
from ttgctl.core.ports import Substrate
from ttgctl.core.records.event_log import EventLog
from ttgctl.core.records.run_folder import run_folder
from ttgctl.core.records.run_lock import run_lock
from ttgctl.core.records.run_record import Earlier
from ttgctl.core.run.clock import SystemClock
from ttgctl.core.run.runner import execute
from ttgctl.domain.events import Finished, Interrupted
from ttgctl.domain.run import RunSpec
from ttgctl.domain.verdict import ExitCode, Verdict
from ttgctl.ui.live.view import Mode, OutputGone, choose_mode, open_view
from ttgctl.ui.reports.run_report import write_run_report


def conduct(
    spec: RunSpec,
    *,
    substrate: Substrate,
    source: ParameterSource,
    common: VerdictOptions,
    out: Path | None = None,
    earlier: Earlier | None = None,
) -> ExitCode:
    """Runs, shows, judges and tidies up; the exit code says how it went.

    After a lossless run all that it made is removed, unless ``--keep``; after any other it stays,
    so that it can be resumed, looked at, or have its dead letters replayed.
    """
    folder = run_folder(spec.run_id)
    web = WebMonitor(spec, substrate, say) if with_ui(common.monitor, spec, say) else None
    monitor = Monitor.cli if common.monitor is Monitor.web and web is None else common.monitor
    mode = choose_mode(common.output.value, stream_is_terminal=is_terminal(), monitor=monitor.value)
    with run_lock(folder.lock), stop_on_signals() as stop, closing(substrate):
        try:
            verdict, interrupted = follow(
                spec, substrate=substrate, source=source, stop=stop, mode=mode, earlier=earlier, beside=web
            )
        except OutputGone as gone:
            forget_stdout()
            say(f"{gone}; the run was stopped and nothing is lost. {_how_to_go_on(spec)}")
            return ExitCode.INTERRUPTED
        if verdict is None:
            say(f"interrupted; nothing is lost. {_how_to_go_on(spec)}")
            return ExitCode.INTERRUPTED
        if out is not None and verdict.complete:
            with closing(Ledger(folder.ledger, spec)) as ledger:
                write_results(out, lambda: rows(spec, ledger, source))
            say(f"results: {out}")
        shown = _shown(verdict, common.output)
        if interrupted is not None:
            say(f"{interrupted.reason}. {_how_to_go_on(spec)}")
        elif common.keep or verdict.exit_code is not ExitCode.LOSSLESS:
            kept = "broker and queues are" if spec.has_queue else "its shares are"
            say(f"{kept} kept; remove them with: ttgctl cleanup {spec.run_id}")
        else:
            remove_run(spec, substrate)
    return verdict.exit_code if shown else ExitCode.MISSING


def _shown(verdict: Verdict, output: Output) -> bool:
    """Whether the verdict could be shown; what has to be done after the run is done all the same."""
    try:
        show_verdict(verdict, output)
    except OSError as error:
        forget_stdout()
        say(f"error: stdout: {error.strerror or error}; see it again with: ttgctl verify {verdict.run_id}")
        return False
    return True


def follow(
    spec: RunSpec,
    *,
    substrate: Substrate,
    source: ParameterSource,
    stop: threading.Event,
    mode: Mode,
    earlier: Earlier | None = None,
    beside: WebMonitor | None = None,
) -> tuple[Verdict | None, Interrupted | None]:
    """Runs to the end, every event logged and shown, and writes the run's report; the caller has
    the run's lock.

    ``beside`` is shown what the view is shown. The verdict is None when ``stop`` was set before
    there was one.
    """
    folder = run_folder(spec.run_id)
    verdict: Verdict | None = None
    interrupted: Interrupted | None = None
    events = execute(
        spec,
        folder=folder,
        substrate=substrate,
        source=source,
        clock=SystemClock(),
        stop=stop,
        earlier=earlier,
    )
    # Closed at once when a view fails, or its reader had enough: nothing may run on unseen.
    with EventLog(folder.events) as log, open_view(mode) as view, closing(events):
        for event in events:
            log.append(event)
            view.show(event)
            if beside is not None:
                beside.show(event)
            if isinstance(event, Finished):
                verdict = event.verdict
            elif isinstance(event, Interrupted):
                interrupted = event
    write_run_report(folder)
    return verdict, interrupted


def _how_to_go_on(spec: RunSpec) -> str:
    if spec.has_queue:
        return f"Go on with: ttgctl resume {spec.run_id}"
    return f"Fixed shares can't be resumed; repeat the run with: ttgctl replay {spec.run_id}"


def show_verdict(verdict: Verdict, output: Output) -> None:
    """On stdout: JSON alone, or for people; nothing after a stream of events, which ends with it."""
    from ttgctl.ui.text.console import data_console
    from ttgctl.ui.views.verdict_view import VerdictView, verdict_json

    if output is Output.json:
        sys.stdout.buffer.write(verdict_json(verdict))
        sys.stdout.flush()
    elif output is Output.text:
        data_console().print(VerdictView(verdict))


def is_terminal() -> bool:
    # Asked without Rich, which a view of plain lines does not need.
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def remove_run(spec: RunSpec, substrate: Substrate) -> None:
    """Removes all that the run made, but for its record."""
    queues = ExternalQueues(run_folder(spec.run_id))
    removals = [remove(queues, queues.owned()), remove(substrate, substrate.owned(spec.run_id))]
    for resource, reason in [failed for removal in removals for failed in removal.failed]:
        say(f"could not remove {resource.kind} {resource.name}: {reason}")


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """The first Ctrl-C, SIGTERM or SIGHUP asks the run to stop, the second leaves at once."""
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(ExitCode.INTERRUPTED)
        stop.set()
        say("\nstopping the workers; press Ctrl-C again to leave at once")

    before = {
        number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
