"""RunPod's Hub asks for a file of this name. The worker is the package ``handler``, which supervisord starts."""

import runpy
import sys
from pathlib import Path

# In place of this file's own folder, where the name would lead back to this file.
sys.path[0] = str(Path(__file__).resolve().parents[1])
runpy.run_module("handler", run_name="__main__", alter_sys=True)
