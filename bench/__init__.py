"""Benchmarks of the pipeline against plain tools: `python -m bench` from the root of the repository."""
