"""A network that goes wrong on purpose: a proxy that stands before any Storage, the embedded one or a real one."""
