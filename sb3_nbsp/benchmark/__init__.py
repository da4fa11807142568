"""Trainings side by side, and the demonstration."""
