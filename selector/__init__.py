"""The window of `--select`, in an environment of its own: a picture comes in, the box that was drawn goes out."""
