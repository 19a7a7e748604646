"""Which versions of packages every stage has: its hashed lock, and what several share."""
