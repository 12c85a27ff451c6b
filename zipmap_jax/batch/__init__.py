"""Many scenes, one after the other: resumable, and split over machines."""
