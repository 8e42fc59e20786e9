"""What holds for every test, however the tests themselves were started."""

from __future__ import annotations

import signal

# A shell's background job ignores SIGINT, and every program that a test starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
