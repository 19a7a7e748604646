"""Re-skin the object and the skater of a run through a ComfyUI server, and nothing else in the picture."""
