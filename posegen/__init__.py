"""The pose stage: the skater's skeleton in every frame, and how it is drawn for the video model."""
