"""Criss-cross attention: the contract, core's own torch form, and the choice between backends."""
