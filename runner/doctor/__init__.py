"""make doctor: what this machine has and lacks for the chosen runner, each with the command that mends it."""
