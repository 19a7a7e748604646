"""SLURM: which of the sweep's jobs it has, and commands that wait for a controller that is away."""
