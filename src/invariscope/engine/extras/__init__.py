"""Optional parts of a measurement: baselines, floors, interim looks, notes and cautions."""
