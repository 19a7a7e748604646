"""RUNNER=docker: the stages in containers, by Docker Compose. Standard library only."""
