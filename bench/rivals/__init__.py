"""What people would use instead, each written the way its own documentation says, in a process of its own."""
