"""The assembled dataset, its statistics (paper, Table 1) and the funnel from captions to samples."""
