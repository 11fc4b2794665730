"""Modules and kernels; no method logic."""
