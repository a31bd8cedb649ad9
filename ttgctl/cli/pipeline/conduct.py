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
from typing import Final

from ttgctl.cli.options.flags import Monitor, Output
from ttgctl.cli.options.run_options import VerdictOptions
from ttgctl.cli.pipeline.web_monitor import WebMonitor, with_ui
from ttgctl.cli.status import say
from ttgctl.cli.streams import forget_stdout
from ttgctl.core.account.external_queues import ExternalQueues
from ttgctl.core.account.ledger import Ledger
from ttgctl.core.account.out_file import OutFileError
from ttgctl.core.account.result_rows import rows
from ttgctl.core.account.results_file import write_results
from ttgctl.core.cleanup import remove
from ttgctl.core.inputs.parameters import ParameterSource
from ttgctl.core.ports import Substrate
from ttgctl.core.records.event_log import EventLog
from ttgctl.core.records.run_folder import RunFolder, run_folder
from ttgctl.core.records.run_lock import run_lock
from ttgctl.core.records.run_record import Earlier
from ttgctl.core.run.clock import SystemClock
from ttgctl.core.run.runner import execute
from ttgctl.domain.events import Finished, Interrupted
from ttgctl.domain.run import RunSpec
from ttgctl.domain.verdict import ExitCode, Verdict
from ttgctl.ui.live.view import Mode, OutputGone, choose_mode, open_view
from ttgctl.ui.reports.run_report import write_run_report

# With a value, or given up, for each parameter: the run's folder has all that there will ever be.
_NOTHING_OUTSTANDING: Final = (ExitCode.LOSSLESS, ExitCode.DEAD_LETTERS)


def conduct(
    spec: RunSpec,
    *,
    substrate: Substrate,
    source: ParameterSource,
    common: VerdictOptions,
    earlier: Earlier | None = None,
) -> ExitCode:
    """Runs, shows, judges, writes the results and tidies up; the exit code says how it went.

    After a run of which nothing is outstanding all that it made is removed but its folder, unless
    ``--keep``, for that is enough to put its dead letters back; after any other it stays, so that it can be
    resumed and looked at.
    """
    folder = run_folder(spec.run_id)
    _restore_packages(spec, folder)
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
            keep_results(spec, source)
            say(f"{gone}; the run was stopped and nothing is lost. {_how_to_go_on(spec)}")
            return ExitCode.INTERRUPTED
        if verdict is None:
            keep_results(spec, source)
            say(f"interrupted; nothing is lost. {_how_to_go_on(spec)}")
            return ExitCode.INTERRUPTED
        # The verdict first: that it can be seen must not depend on a file that can be written.
        shown = _shown(verdict, common.output)
        keep_results(spec, source)
        if interrupted is not None:
            say(f"{interrupted.reason}. {_how_to_go_on(spec)}")
        elif common.keep or verdict.exit_code not in _NOTHING_OUTSTANDING:
            kept = "broker and queues are" if spec.has_queue else "its shares are"
            say(f"{kept} kept; remove them with: ttgctl cleanup {spec.run_id}")
        else:
            remove_run(spec, substrate)
    return verdict.exit_code if shown else ExitCode.MISSING


def _restore_packages(spec: RunSpec, folder: RunFolder) -> None:
    """What was installed for the run's function may have been tidied away since."""
    if spec.python is not None and folder.packages.is_file() and not Path(spec.python).exists():
        from ttgctl.substrates.local.environments import restore_environment

        say(f"packages: installed again, by {folder.packages}")
        restore_environment(folder.packages.read_bytes())


def keep_results(spec: RunSpec, source: ParameterSource) -> None:
    """Writes the results where the run is to write them, as far as there are any; what is in the way is said
    in a line, for the ledger has them all the same."""
    if spec.out is None:
        return
    folder = run_folder(spec.run_id)
    with closing(Ledger(folder.ledger, spec)) as ledger:
        if not ledger.totals.parameters_ok and not ledger.totals.parameters_failed:
            return
        partial = ledger.accounted < spec.chunks_total
        try:
            target = write_results(Path(spec.out), lambda: rows(spec, ledger, source), partial=partial)
        except OutFileError as error:
            again = f"ttgctl results {spec.run_id} --out ELSEWHERE{' --partial' if partial else ''}"
            say(f"error: {error}; the results are in the run's folder, write them with: {again}")
        else:
            say(f"results{' so far' if partial else ''}: {target}")


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
    """The first Ctrl-C, SIGTERM or SIGHUP asks the run to stop, the second leaves at once.

    Under ``nohup`` a terminal that goes away stays without effect.
    """
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(ExitCode.INTERRUPTED)
        stop.set()
        say("\nstopping the workers; press Ctrl-C again to leave at once")

    heard = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        heard.append(signal.SIGHUP)
    before = {number: signal.signal(number, on_signal) for number in heard}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
