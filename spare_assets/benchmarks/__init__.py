"""Benchmarks: their records and images, how they ask and how they score (paper 4.2, 4.3)."""
