"""What handler and uploader have in common: the files they exchange, settings, errors, and the Storage client."""
