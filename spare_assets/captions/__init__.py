"""Caption sources: readers of native release formats, canonical image ids, image resolution and download."""
