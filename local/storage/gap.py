"""The gap between looking whether an object is there and making it."""

CREATION_GAP = 0.005
"""Seconds, where no overwriting is meant. On the real server this gap is what lets eight creations at once all succeed
in most rounds; without it a client could take creation for a lock, which it is not."""
