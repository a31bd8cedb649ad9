"""List, show, replay or drop a run's dead letters: chunks given up after their last attempt."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from dataclasses import replace
from typing import Annotated

import typer

from ttg_worker.brokers import open_broker
from ttgctl.cli.commands.resume import carry_on
from ttgctl.cli.options import flags
from ttgctl.cli.options.help_sections import SectionedCommand
from ttgctl.cli.options.letter_options import LetterOptions
from ttgctl.cli.options.option_group import with_option_groups
from ttgctl.cli.options.run_options import VerdictOptions
from ttgctl.cli.options.workload_option import check_workload
from ttgctl.cli.pipeline.known_run import KnownRun
from ttgctl.cli.status import say
from ttgctl.core.account.dead_letters import Entry, LetterFilter, discard_dropped, entries, want_back
from ttgctl.core.account.ledger import DEAD, DROPPED, Ledger
from ttgctl.core.account.results_file import check_out_path
from ttgctl.core.records.run_lock import run_lock
from ttgctl.domain.run import RunSpec, SpecError
from ttgctl.ui.text.console import data_console, status_console
from ttgctl.ui.views.dead_letters import dead_letter_page, dead_letters_json, dead_letters_table

dlq = typer.Typer(name="dlq", help=__doc__, no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@dlq.command("list", cls=SectionedCommand)
@with_option_groups
def list_letters(
    run: flags.Run = None,
    *,
    letters: LetterOptions,
    output: flags.TableOutputOption = flags.TableOutput.text,
) -> int:
    """List a run's dead letters, oldest first, with what became of them."""
    with _ledger(KnownRun.find(run)) as ledger:
        found = _chosen(ledger, letters.choice())
    if not _printed_as_json(found, output):
        data_console().print(dead_letters_table(found, now=time.time()))
    return 0


@dlq.command(cls=SectionedCommand)
@with_option_groups
def show(
    run: flags.Run = None,
    *,
    letters: LetterOptions,
    output: flags.TableOutputOption = flags.TableOutput.text,
) -> int:
    """Show dead letters in full: every attempt, the whole traceback."""
    with _ledger(KnownRun.find(run)) as ledger:
        found = _chosen(ledger, letters.choice())
    if _printed_as_json(found, output):
        return 0
    console = data_console()
    for number, entry in enumerate(found):
        console.print(*([""] if number else []), dead_letter_page(entry, now=time.time()), sep="\n")
    if not found:
        console.print(dead_letters_table(found, now=time.time()))
    return 0


@dlq.command(cls=SectionedCommand)
@with_option_groups
def replay(
    run: flags.Run = None,
    *,
    letters: LetterOptions,
    workload: Annotated[
        str | None,
        typer.Option(metavar="FUNCTION", help="FILE.py:NAME or MODULE:NAME in place of the run's own."),
    ] = None,
    no_faults: Annotated[
        bool, typer.Option("--no-faults", help="Without the faults of the run's plan, such as poison.")
    ] = False,
    out: flags.ResultsOut = None,
    overwrite: flags.Overwrite = False,
    common: VerdictOptions,
) -> int:
    """Put dead letters back as tasks, all of them or the chosen ones, and go on to a new verdict."""
    known = KnownRun.find(run)
    if out is not None:
        check_out_path(out, overwrite=overwrite or known.writes_to(out))
    if not known.spec.has_queue:
        raise SpecError(f"run {known.spec.run_id} has fixed shares, and no queue to put anything back on")
    choice = letters.choice()
    with run_lock(known.folder.lock), _ledger(known) as ledger:
        chosen = _chosen(ledger, choice)
        open_ones = [entry for entry in chosen if entry.replayable]
        if not open_ones:
            raise SpecError(f"run {known.spec.run_id} has no such dead letter that could be tried again")
        spec = known.spec if workload is None else _with_workload(known, workload)
        say(f"{want_back(ledger, chosen):,} chunks go back to the tasks")
    if no_faults:
        spec = replace(spec, faults=(), fault_rate=0.0)
    return carry_on(known, spec, common=common, out=out)


@dlq.command(cls=SectionedCommand)
@with_option_groups
def drop(
    run: flags.Run = None,
    *,
    letters: LetterOptions,
    force: Annotated[bool, typer.Option("--force", help="Do not ask.")] = False,
    broker_url: flags.BrokerUrl = None,
) -> int:
    """Forget dead letters, all of them or the chosen ones: their chunks stay given up."""
    known = KnownRun.find(run)
    choice = letters.choice()
    with run_lock(known.folder.lock), _ledger(known) as ledger:
        chosen = [entry for entry in _chosen(ledger, choice) if entry.state == DEAD]
        if not chosen:
            say(f"run {known.spec.run_id} has no such dead letter")
            return 0
        status_console().print(dead_letters_table(chosen, now=time.time()))
        if not force and not typer.confirm(f"Drop these {len(chosen)}?", default=False, err=True):
            say("nothing was dropped")
            return 0
        # First here: what the broker forgets before the ledger knows could never be put back.
        ledger.settle_dead_letters([entry.letter.position for entry in chosen], DROPPED)
        _discard(known, ledger, broker_url)
    say(f"{len(chosen):,} dropped; their chunks stay given up in the verdict")
    return 0


def _ledger(known: KnownRun) -> closing[Ledger]:
    return closing(Ledger(known.folder.ledger, known.spec))


def _chosen(ledger: Ledger, choice: LetterFilter) -> list[Entry]:
    try:
        return choice.of(entries(ledger), now=time.time())
    except LookupError as error:
        raise SpecError(str(error)) from None


def _printed_as_json(found: list[Entry], output: flags.TableOutput) -> bool:
    if output is flags.TableOutput.json:
        sys.stdout.buffer.write(dead_letters_json(found))
        return True
    return False


def _with_workload(known: KnownRun, workload: str) -> RunSpec:
    """The run with another workload, from now on: its files are replaced in the run's folder."""
    if known.spec.synthetic:
        raise SpecError(f"run {known.spec.run_id} computes simulated work and not a function")
    checked = check_workload(workload, python=known.spec.python)
    checked.copy_to(known.folder)
    spec = replace(known.spec, workload=checked.reference)
    known.folder.write_spec(spec)
    return spec


def _discard(known: KnownRun, ledger: Ledger, broker_url: str | None) -> None:
    """On the broker too, if it runs; else the next command that starts it does."""
    spec = known.spec
    with closing(known.substrate(broker_url=broker_url)) as substrate:
        external = broker_url is not None or spec.placement.external_broker
        if not external and substrate.broker_uid(spec) is None:
            return
        endpoint = substrate.start_broker(spec, lambda line: None)
        with closing(open_broker(endpoint.host_url, options=spec.delivery)) as broker:
            discard_dropped(broker, spec.run_id, ledger)
