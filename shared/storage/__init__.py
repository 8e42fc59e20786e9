"""The Storage client of handler and uploader: errors told apart, retries around it, bodies in blocks."""

from __future__ import annotations

import sys
from typing import Any, cast

# httpx imports its command line, and with it click, rich and pygments, wherever those are installed: nobody here calls
# it, and every process would pay 0.1 s of CPU time and 10 MB for it. What is None there counts as not installed.
cast("dict[str, Any]", sys.modules).setdefault("httpx._main", None)
