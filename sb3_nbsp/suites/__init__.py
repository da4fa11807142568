"""Suites: benchmarks as YAML files."""
