"""A run's objects from the bucket into a folder: resumed where that was interrupted, and proved one by one."""
