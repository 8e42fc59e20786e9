"""Runs the trainer: ``python run.py CONFIG``, with this folder as the working directory."""

import runpy

if __name__ == "__main__":
    runpy.run_module("ferry_trainer", run_name="__main__")
