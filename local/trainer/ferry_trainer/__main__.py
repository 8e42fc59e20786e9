"""The process's edge: prepares the environment, then hands over to the command line."""

import os
from pathlib import Path

from .dotenv import load_dotenv

# The products are small: more threads cost more than they give, and the other core belongs to whoever watches.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

if __name__ == "__main__":
    load_dotenv(Path(__file__).parent.parent / ".env", os.environ)

    # numpy reads the environment when it is imported, so this comes after it is complete.
    from .cli import main

    main()
