"""A grid of trainings, transfers and tables as a graph: how people write it, what it stands for, what it costs."""
