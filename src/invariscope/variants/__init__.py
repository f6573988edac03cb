"""Changed copies of a model: randomised, calibrated, averaged over an orbit."""
