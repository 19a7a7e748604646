"""What a clip file is: its colours, which way up it is, and how it becomes the clip that stages see."""
