"""Whether this machine will work: small checks, each with what it found and what to do about it."""
