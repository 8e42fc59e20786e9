"""A whole training on one machine: Storage, queue, supervisord with both programs, and a job through RunPod's SDK."""
