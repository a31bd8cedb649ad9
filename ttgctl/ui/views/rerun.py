"""How to run the same once more, and whether it came to the same."""

from __future__ import annotations

import shlex
from typing import Final

from ttg_worker.brokers.base import DeliveryOptions
from ttgctl.domain.run import RunSpec
from ttgctl.domain.verdict import Verdict
from ttgctl.ui.text import formats, wording

_USUAL: Final = DeliveryOptions()


def demo_command(spec: RunSpec) -> str | None:
    """The command that runs the same again; None where it is more than a line can say."""
    if not spec.synthetic:
        return None
    words = ["ttgctl", "demo", "--backend", spec.backend, "--substrate", spec.substrate]
    if spec.placement.context is not None:
        words += ["--context", spec.placement.context]
    words += ["--parameters-total", str(spec.parameters_total), "--chunk-size", str(spec.chunk_size)]
    words += ["--workers", str(spec.workers), "--work-ms", f"{spec.work_ms:g}", "--seed", str(spec.seed)]
    delivery = spec.delivery
    for option, value, usual in (
        ("--max-attempts", delivery.max_attempts, _USUAL.max_attempts),
        ("--retry-delay-ms", delivery.retry_delay_seconds * 1000, _USUAL.retry_delay_seconds * 1000),
        ("--lease-ms", delivery.lease_seconds * 1000, _USUAL.lease_seconds * 1000),
        ("--fault-rate", spec.fault_rate, 0),
    ):
        if value != usual:
            words += [option, f"{value:g}"]
    for fault in spec.faults:
        words += ["--fault", fault]
    if spec.unsafe_ack_early:
        words.append("--unsafe-ack-early")
    return shlex.join(words)


def difference(before: Verdict | None, after: Verdict) -> str:
    """One line: what came out the same, what did not, and both times."""
    if before is None:
        return f"no verdict to compare with; now: {wording.headlines(after)[0]}"
    changed = [
        f"{name.replace('_', '-')} {old:,} -> {new:,}"
        for name in ("attempted", "ok", "lost", "conflicting", "unexpected", "dead_lettered")
        if (old := getattr(before.chunks, name)) != (new := getattr(after.chunks, name))
    ]
    if None not in (before.checksum, after.checksum) and before.checksum != after.checksum:
        changed.append("the results' checksum")
    times = f"{formats.duration(after.seconds)}, before {formats.duration(before.seconds)}"
    if changed:
        return f"changed: {', '.join(changed)}; {times}"
    equal = " and every value equal" if after.checksum is not None and before.checksum is not None else ""
    of_all = f"{after.chunks.ok:,} of {formats.chunks(after.chunks.attempted)}"
    return f"as before: {of_all} ok{equal}; {times}"
