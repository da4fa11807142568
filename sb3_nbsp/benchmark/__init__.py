"""Trainings side by side: suites, their cells, published runs, reports."""
