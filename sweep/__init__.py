"""Many clips x prompts x seeds: what to do, as files, for Snakemake to do it on one machine or on a cluster.

It knows the product by its commands, and Snakemake by its command line and `Snakefile`.
"""
