"""How fast and how light Ferry is, measured against what people would use instead: ``make bench``."""
