"""Sources of posed images with depth: recorded data sets and procedural scenes."""
