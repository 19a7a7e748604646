"""ComfyUI on this machine: its source at a pinned commit, its command line, a server for as long as a command lasts."""
