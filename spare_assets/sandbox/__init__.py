"""A world for machines without GPU, network or corpora: scenes, corpora and the small CLIP's builder."""
