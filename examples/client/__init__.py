"""What the programs are made of: the endpoint, a job's request, a training as it goes on, and its results."""
