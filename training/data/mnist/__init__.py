"""Digits in MNIST's layout."""
