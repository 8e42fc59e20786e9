"""``python -m bench``: measures the rows that are asked for, or all, and writes the table."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from bench import plot, report, results
from bench.bench import Bench
from bench.machine import described
from bench.material import Material
from bench.processes import FailedError
from bench.rows.catalogue import ROWS
from bench.scale import SCALES
from bench.site import Site
from shared.errors import FerryError

_EPILOG = """
Measured is against the embedded Storage, or, where SUPABASE_URL and SUPABASE_SERVICE_KEY are set, against that
project. What other rows have left in FOLDER stays in the table.
"""


def main(arguments: list[str]) -> int:
    """Measure; return 0 unless something could not be measured."""
    options = _parser().parse_args(arguments)
    # What was started is ended and what was written is removed, however this process is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ferry-bench-", dir=options.work) as work:
        folder = Path(work)
        with closing(Site(folder)) as site:
            bench = Bench(
                site=site,
                scale=SCALES[options.scale],
                runs=options.runs,
                round_trips=options.rtt,
                folder=folder,
                material=Material(folder / "material"),
                say=_say,
            )
            try:
                for name in options.rows or ROWS:
                    for measured in ROWS[name](bench):
                        _keep(options.out, measured, bench)
            except (FailedError, FerryError) as error:
                print(f"bench: {error}", file=sys.stderr)
                return 1
    return 0


def _keep(out: Path, measured: results.Measurement, bench: Bench) -> None:
    """Put what was measured into the table at once, whatever comes of the next row."""
    file = out / "results.json"
    machine = described(embedded=bench.site.embedded)
    known = results.Results(machine, bench.scale.name)
    if file.is_file():
        old = results.read(file)
        if (old.machine, old.scale) == (known.machine, known.scale):
            known = old
    known = known.with_measurement(measured)
    results.write(file, known)
    (out / "results.md").write_text(report.table(known))
    plot.draw(known, out / "results.png")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__, epilog=_EPILOG)
    parser.add_argument("rows", nargs="*", type=_row, metavar="ROW", help=f"default: all of {', '.join(ROWS)}")
    parser.add_argument("--runs", type=_count, default=5, help="how many rounds (default: 5)")
    parser.add_argument(
        "--rtt", type=_round_trips, default=(0, 20, 80), metavar="MS,…", help="round trips (default: 0,20,80)"
    )
    parser.add_argument("--out", type=Path, default=Path(".bench"), metavar="FOLDER", help="(default: .bench)")
    parser.add_argument("--scale", choices=SCALES, default="full", help="small: only to see that it works")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="a disk with some 20 GB (default: the temporary)")
    return parser


def _row(text: str) -> str:
    if text not in ROWS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(ROWS)}")
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rounds")
    return int(text)


def _round_trips(text: str) -> tuple[int, ...]:
    if not all(part.isdecimal() for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of milliseconds, such as 0,20,80")
    return tuple(map(int, text.split(",")))


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
