"""Who starts next, on which slots, and who gives way: pure, without a clock, a socket or SQL."""
