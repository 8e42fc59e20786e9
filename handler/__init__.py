"""The handler: takes a RunPod job, trains, and answers truthfully."""
