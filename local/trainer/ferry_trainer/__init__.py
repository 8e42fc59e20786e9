"""Learns the pictures of a data set in seconds on a CPU and behaves, seen from outside, like ai-toolkit 0.12.26.

What is kept: the configuration's keys, the console's lines and bars, the names, order and life of the files that are
written, resuming, and the ways to end. What is not: the models. ``model`` says what is learnt instead, ``knobs`` how a
test makes the trainer slow or misbehave.
"""
