"""
The commands, on rl-zoo3: training and watching, search spaces, upload, benchmarks, probes.

``sb3_nbsp.cli`` is their parser and table. Importing ``sb3_nbsp`` does not import rl-zoo3, which changes Gymnasium on import.
"""
