"""The command line: runs each configuration in turn and ends as ai-toolkit's ``run.py`` ends.

Exit code 0 after success (with no closing line) and after SIGINT (``Job stopped``); 1 after an error, with the result
on stdout and the traceback on stderr. SIGTERM has no handler.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from . import config
from .job import Job, make_job

RULE = "=" * 40
ROOT = Path(__file__).parent.parent


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the configurations named on the command line, one after the other."""
    options = _parse(arguments)
    count = len(options.config_file_list)
    print(f"Running {_counted(count, 'job')}")
    completed = failed = 0
    for argument in options.config_file_list:
        job: Job | None = None
        try:
            job = make_job(config.load(config.find(argument, ROOT), options.name))
            job.run()
            completed += 1
        except Exception as error:
            failed += 1
            _report(error, job)
            if not options.recover:
                _print_result(completed, failed)
                raise
        except KeyboardInterrupt:
            if job is not None:
                time.sleep(job.stop_seconds)
            print(f"\n{RULE}\nJob stopped\n{RULE}")
            sys.exit(0)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.py")
    parser.add_argument("config_file_list", nargs="+", help="configurations: paths, or names of files under config/")
    parser.add_argument("-r", "--recover", action="store_true", help="go on, and exit with 0, when a job fails")
    parser.add_argument("-n", "--name", help="replaces [name] in the configuration")
    return parser.parse_args(arguments)


def _report(error: Exception, job: Job | None) -> None:
    print(f"Error running job: {error}")
    if job is None:
        # ai-toolkit stumbles here over a variable that was never set, and says so.
        print("Error running on_error: cannot access local variable 'job' where it is not associated with a value")


def _print_result(completed: int, failed: int) -> None:
    print(f"\n{RULE}\nResult:\n - {_counted(completed, 'completed job')}\n - {_counted(failed, 'failure')}\n{RULE}")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
