"""Stable-Baselines3 agents that learn one task after another without forgetting."""

__version__ = "0.1.0"
