"""Seeing a trace."""
