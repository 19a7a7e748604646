"""Pictures that others made: what file it is, how large, and which of its pixels are the object of a mask."""
