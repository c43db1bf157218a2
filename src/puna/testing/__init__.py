"""Shipped helpers for tests of Puna and of programs built on it: tiny seeded models, scripted answers, small pictures."""
