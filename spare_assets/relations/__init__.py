"""The spatial-relation taxonomy (paper, Table 11) and its keyword matcher: pure data and pure functions."""
