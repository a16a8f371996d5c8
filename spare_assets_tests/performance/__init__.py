"""Measurements: programs to run by hand, that print what they measured; no tests among them."""
