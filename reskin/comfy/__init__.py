"""Talking to one ComfyUI server."""
