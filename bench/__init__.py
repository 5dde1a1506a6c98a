"""Side-by-side measurements of the road: `python -m bench` from the root of the repository."""
