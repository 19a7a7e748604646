"""Pass 4: track the new object in the generated clip and prove that it fills the old outline, frame by frame."""
