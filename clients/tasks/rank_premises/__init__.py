"""Ranks the premises that help to prove a conjecture."""
