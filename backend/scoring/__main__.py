"""`python -m backend.scoring`: what `./run score` becomes once it knows which version answers."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from backend.scoring.partition import Part
from backend.scoring.run import Scored, score_folder
from sigap.errors import SigapError
from sigap.settings import get_settings


def main() -> None:
    """Scores, and says how far it has got; exit code 1 when a partition could not be scored, 130 after Ctrl-C."""
    options = argparse.ArgumentParser(prog="python -m backend.scoring", description=__doc__)
    options.add_argument("model")
    options.add_argument("input", type=Path)
    options.add_argument("output", type=Path)
    options.add_argument("--bundle", type=Path, required=True, help="folder of the bundle that answers")
    options.add_argument("--version", required=True, help="the model version's number")
    options.add_argument("--processes", type=int, default=1, help="that share the work where there is no cluster")
    given = options.parse_args()
    started = time.monotonic()
    try:
        scored = score_folder(
            get_settings(),
            given.model,
            given.input,
            given.output,
            given.bundle,
            given.version,
            processes=given.processes,
            progress=show,
        )
    except SigapError as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted; the same command goes on where it was.\n")
        sys.exit(130)
    tell(scored, time.monotonic() - started)
    if scored.failed:
        sys.exit(1)


def show(done: int, total: int, part: Part) -> None:
    """One line a partition."""
    if part.failed:
        told = f"not scored: {part.failed}"
    else:
        told = f"{part.rows:,} rows" + (f", {part.refused:,} refused" if part.refused else "")
        told += ", was finished before" if part.kept else ""
    sys.stdout.write(f"  {done}/{total}  {part.name}  {told}\n")
    sys.stdout.flush()


def tell(scored: Scored, seconds: float) -> None:
    """What became of all of them."""
    lines = [
        f"{scored.rows:,} rows in {len(scored.parts) - len(scored.failed)} partitions, {scored.refused:,} refused; "
        f"{seconds:.1f} s, at most {scored.memory / 2**20:,.0f} MiB a process."
    ]
    lines += [f"  {times:,} × {reason}" for reason, times in scored.reasons.most_common(10)]
    lines.append(f"Written: {scored.manifest}")
    if scored.failed:
        lines.append(
            f"{len(scored.failed)} partitions could not be scored, first {scored.failed[0].name}: "
            f"{scored.failed[0].failed}. Mend them, then run the same command again."
        )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
