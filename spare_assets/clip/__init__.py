"""Image and text embeddings with open_clip. Thresholds and checks that use them live in `quality`."""
