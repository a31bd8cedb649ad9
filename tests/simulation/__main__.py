"""``python -m simulation SEED...`` runs these seeds; ``--seeds FIRST-LAST`` a range of them."""

from __future__ import annotations

import argparse
import os
import sys
import time

from simulation.world import command_for, failures_of


def main() -> int:
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("seeds", nargs="*", type=int, help="seeds to run")
    parser.add_argument("--seeds", dest="between", default="", metavar="FIRST-LAST")
    given = parser.parse_args()
    seeds = list(given.seeds)
    if given.between:
        first, _, last = given.between.partition("-")
        seeds += range(int(first), int(last) + 1)
    if not seeds:
        seeds = [time.time_ns() % 1_000_000_000 + number for number in range(1000)]
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Sets are walked in another order in each process, unless told otherwise.
        os.execve(sys.executable, [sys.executable, "-m", "simulation", *sys.argv[1:]], _environment())
    began = time.monotonic()
    failures = failures_of(seeds)
    for seed, wrong in failures:
        print(f"seed {seed}: {'; '.join(wrong)}\n  again: {command_for(seed)}")
    seconds = time.monotonic() - began
    print(f"{len(seeds):,} runs in {seconds:.1f} s, {len(seeds) / seconds * 60:,.0f} a minute; "
          f"{len(failures)} went wrong")  # fmt: skip
    return 1 if failures else 0


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONHASHSEED": "0"}


if __name__ == "__main__":
    sys.exit(main())
