"""Damages files of every kind that the package reads; each must end in a result or in one clear line.

`python -m fuzz` (`make fuzz`) runs it. Each variant is made from the seed, the kind of file and a number
alone, so a finding can be made again. Variants are read in worker processes with limits of time and memory: a
crash, a hang or a large allocation is a finding, as is every exception that is not one of the package's own.
"""
