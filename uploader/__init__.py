"""The uploader: carries everything that a training writes to Supabase Storage while it is being written."""
