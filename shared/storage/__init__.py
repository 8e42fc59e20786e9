"""The Storage client of handler and uploader: errors told apart, retries around it, bodies in blocks."""
