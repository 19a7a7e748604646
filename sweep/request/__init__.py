"""The user's file: what it says, each thing with its line, and what is wrong with it."""
