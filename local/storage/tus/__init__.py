"""The parts of the resumable protocol (TUS 1.0.0) that are not the routes themselves."""
