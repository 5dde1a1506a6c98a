"""Side-by-side measurements of the pipeline: `python -m bench` from the root of the repository."""
