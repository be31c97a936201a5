"""Many views made consistent: cameras by matching and bundle adjustment, depths by comparing pictures."""
