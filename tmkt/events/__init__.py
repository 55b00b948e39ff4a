"""Events: their type, the map from camera pixels to network sites, and counting into time bins."""
