"""What the server knows of buckets, objects and uploads, in one SQLite file, and the bytes, one file a version."""
