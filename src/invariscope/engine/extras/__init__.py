"""Optional parts of a measurement: baselines, floors, looks on the way, notes and cautions."""
