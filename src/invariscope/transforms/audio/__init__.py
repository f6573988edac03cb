"""Transforms of audio and other signals, whose last axis is time."""
