"""
The leaf: files that are replaced as a whole, random states, arrays, arguments and their checks.

It imports nothing of this package, and every other room may import it.
"""
