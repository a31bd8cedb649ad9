"""What `ttgctl bench` measures: how fast workers drain a broker of a run of no work."""
