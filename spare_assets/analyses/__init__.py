"""What the data holds: relations, composition, ablations, frames of reference, cost."""
