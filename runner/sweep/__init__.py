"""The sweep's two commands, the one that starts it and the one that each of its jobs is; and a GPU for each job."""
