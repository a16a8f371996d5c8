"""Human review: what people look at, the page they mark it on, and what their verdicts say (paper 3.4, 3.5, E)."""
