"""A stand-in for RunPod's queue: what the SDK's worker takes jobs from, and what its client sends them to."""
