"""The local runner: finds or makes each stage's environment and runs the stage in it. Standard library only."""
