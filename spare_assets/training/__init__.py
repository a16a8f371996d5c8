"""Fine-tuning: training rows, contamination, the training program and its recipes (paper 3.7, 4.1)."""
