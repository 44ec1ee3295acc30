"""Jobs on SLURM: a grid of pretrainings, transfers and tables as a graph of jobs. Runs from the repository."""
