"""A small real trainer for a CPU, which keeps the contract of ai-toolkit's ``run.py``.

``run.py`` in this folder is run as a script with this folder as the working directory, as ai-toolkit is; everything it
needs is in the package beside it, whose modules import one another relatively. So the folder works wherever it is
copied to, and is part of the project for the type checker and the tests.
"""
