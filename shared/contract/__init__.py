"""The files that handler and uploader exchange, as typed objects. Each file has one writer."""
