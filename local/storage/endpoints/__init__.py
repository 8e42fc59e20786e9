"""The routes below ``/storage/v1``, one module for each group of them."""
