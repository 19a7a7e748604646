"""What the sweep has of the runner: a GPU for each job."""
