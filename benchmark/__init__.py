"""What the suite costs in time and memory, measured on the machine at hand against naive arrangements of the same work.

A module that ``tools/benchmark.py`` names has ``EXAMPLE``, ``add_arguments(parser)`` and ``measure(args)``, which gives
values by name: a ``title``, the figures of each arrangement as ``rows``, and the conditions they hold under.
Where seconds are compared, the arrangements take turns, in one process or each in one of its own, and medians are
reported where there are repeats. ``evidence/`` asks what trainings are good for instead: the paper's claims, and
whether a pretraining helped.
"""
