"""A phone's part of a fleet: phones that average what their adapters learned, so that a new one starts from it.

This package makes updates and knows no network: whoever asks for one (the computer's Flower client) gets numbers that
were clipped and noised here. The averaging is Flower's (the package idletune_fleet).
"""
