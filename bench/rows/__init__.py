"""The rows of the table, a family in each module."""
