"""Looking at a `Scene`: colour maps and the self-contained web page."""
