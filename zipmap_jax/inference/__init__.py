"""From images, videos and arrays to scenes on the host."""
