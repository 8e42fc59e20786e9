"""Says at the end how many points were tried, however many processes pytest ran in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

STRUCK = "struck"


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, told in report.user_properties:
                if name == STRUCK:
                    terminalreporter.write_line(str(told))
