"""Modified copies of a model: with random weights, calibrated, or averaged over an orbit."""
