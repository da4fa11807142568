"""Tuned settings per algorithm, one YAML file each, in rl-zoo3's format."""
